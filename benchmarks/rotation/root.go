package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/weft-mesh/weft/benchmarks/internal/fleet"
	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/security/consulca"
)

// rootWithin is when both sides must have certificates of the new root. Consul lets
// agents ask for them at random times, at most 30 s away.
const rootWithin = 2 * time.Minute

// rotateRoot lets Consul make a new root, which it cross-signs with the old one.
func rotateRoot(ctx context.Context, callers int) (l *load, took time.Duration, err error) {
	agent, err := consultest.Start(ctx, consultest.Config{Progress: os.Stderr})
	if err != nil {
		return nil, 0, err
	}
	defer agent.Stop()
	server, err := consulca.New(ctx, consulca.Config{Service: "rotated", Client: agent.Client()})
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	client, err := consulca.New(ctx, consulca.Config{Service: "caller", Client: agent.Client()})
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	f, err := fleet.New(ctx, agent, "rotated", func(c *mesh.Config) { c.Identity = server })
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	port, err := f.Serve(ctx, "only")
	if err == nil {
		err = f.Register("only", port, 1)
	}
	if err != nil {
		return nil, 0, err
	}
	cfg := fleet.Member(agent, "caller")
	cfg.Identity = client
	m, err := mesh.Join(ctx, cfg)
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, m.Leave(context.Background())) }()
	conn, err := m.Dial("rotated")
	if err != nil {
		return nil, 0, err
	}
	l = startLoad(ctx, conn, callers)
	defer l.end()
	began := time.Now()
	key := map[string]any{"LeafCertTTL": "72h", "IntermediateCertTTL": "8760h", "RootCertTTL": "87600h", "PrivateKeyType": "ec", "PrivateKeyBits": 384}
	if _, err := agent.Client().Connect().CASetConfig(&api.CAConfig{Provider: "consul", Config: key}, nil); err != nil {
		return l, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, rootWithin)
	defer cancel()
	for _, src := range []*consulca.Source{server, client} {
		if err := renewed(ctx, src); err != nil {
			return l, 0, err
		}
	}
	took = time.Since(began)
	select { // and go on for a while
	case <-time.After(time.Second):
	case <-ctx.Done():
	}
	l.end()
	return l, took, nil
}

// renewed waits until a source has a certificate of the new root: it comes with its
// cross-signed intermediate.
func renewed(ctx context.Context, src *consulca.Source) error {
	for {
		changed := src.Changed()
		svid, err := src.GetX509SVID()
		if err != nil {
			return err
		}
		if len(svid.Certificates) > 1 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%s has no certificate of the new root: %w", svid.ID, ctx.Err())
		}
	}
}
