package consulca_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/internal/consultest/ctest"
	"github.com/weft-mesh/weft/security"
	"github.com/weft-mesh/weft/security/consulca"
)

// join makes a source that is closed, and whose connections are gone, when the test ends.
func join(t *testing.T, a *consultest.Agent, service string) *consulca.Source {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := consulca.New(ctx, consulca.Config{Service: service, Client: client(t, a), MaxBackoff: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// way is how an identity is got.
type way func(*testing.T, *consultest.Agent, string) *consulca.Source

var ways = map[string]way{"HTTP": join, "gRPC": joinGRPC}

func joinGRPC(t *testing.T, a *consultest.Agent, service string) *consulca.Source {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := consulca.New(ctx, consulca.Config{Service: service, Client: client(t, a), GRPCAddr: a.GRPCAddr(), Token: a.Token(), MaxBackoff: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func client(t *testing.T, a *consultest.Agent) *api.Client {
	t.Helper()
	conf := api.DefaultConfig()
	conf.Address, conf.Token = a.HTTPAddr(), a.Token()
	c, err := api.NewClient(conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conf.Transport.CloseIdleConnections)
	return c
}

func idOf(t *testing.T, s *consulca.Source) string {
	t.Helper()
	svid, err := s.GetX509SVID()
	if err != nil {
		t.Fatal(err)
	}
	return svid.ID.String()
}

// handshake connects both ends, proves that bytes flow, and returns either end's error.
func handshake(t *testing.T, client, server security.Source, expect string) error {
	t.Helper()
	scfg, err := security.ServerTLS(server, nil)
	if err != nil {
		t.Fatal(err)
	}
	ccfg, err := security.ClientTLS(client, expect)
	if err != nil {
		t.Fatal(err)
	}
	a, b := net.Pipe()
	defer a.Close()
	var wg sync.WaitGroup
	var serr error
	wg.Go(func() {
		defer b.Close()
		conn := tls.Server(b, scfg)
		if serr = conn.Handshake(); serr == nil {
			_, serr = conn.Write([]byte{1})
		}
	})
	conn := tls.Client(a, ccfg)
	_, cerr := io.ReadFull(conn, make([]byte, 1))
	_ = a.Close() // the server may still be writing an alert
	wg.Wait()
	return errors.Join(cerr, serr)
}

func TestLeafOfAService(t *testing.T) {
	t.Parallel()
	agent := ctest.Start(t, consultest.Config{Datacenter: "aws", ACL: true})
	web, payments := join(t, agent, "web"), join(t, agent, "payments")
	id, err := security.ParseServiceID(idOf(t, payments))
	if err != nil || id.Datacenter != "aws" || id.Service != "payments" || !strings.HasSuffix(id.TrustDomain, ".consul") {
		t.Fatalf("identity %+v, %v", id, err)
	}
	if err := handshake(t, web, payments, idOf(t, payments)); err != nil {
		t.Error(err)
	}
	if err := handshake(t, web, payments, idOf(t, web)); !errors.Is(err, security.ErrUnexpectedPeer) {
		t.Errorf("wrong service: %v, want ErrUnexpectedPeer", err)
	}
	if s := web.Status(); s.Err != nil || len(s.TrustDomains) != 1 || s.ID != idOf(t, web) {
		t.Errorf("Status = %+v", s)
	}
	t.Run("with an unknown token", func(t *testing.T) {
		conf := api.DefaultConfig()
		// Not "web": the agent gives a leaf that it holds to whoever asks.
		conf.Address, conf.Token = agent.HTTPAddr(), "99999999-2222-3333-4444-555555555555"
		c, err := api.NewClient(conf)
		if err != nil {
			t.Fatal(err)
		}
		defer conf.Transport.CloseIdleConnections()
		ctx, log := untilSaid(t, "ACL not found")
		_, err = consulca.New(ctx, consulca.Config{Service: "orders", Client: c, Logger: log})
		if !errors.Is(err, errSaid) || !strings.Contains(err.Error(), "ACL not found") {
			t.Errorf("New = %v, want what the agent said", err)
		}
	})
}

func TestRotationOfTheCA(t *testing.T) {
	t.Parallel()
	for name, join := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rotate(t, join)
		})
	}
}

func rotate(t *testing.T, join way) {
	agent := ctest.Start(t, consultest.Config{})
	web, payments := join(t, agent, "web"), join(t, agent, "payments")
	expect := idOf(t, payments)
	before, err := payments.GetX509SVID()
	if err != nil {
		t.Fatal(err)
	}
	conf := map[string]any{"LeafCertTTL": "72h", "IntermediateCertTTL": "8760h", "RootCertTTL": "87600h", "PrivateKeyType": "rsa", "PrivateKeyBits": 2048}
	if _, err := agent.Client().Connect().CASetConfig(&api.CAConfig{Provider: "consul", Config: conf}, nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	n := 0
	for {
		if err := handshake(t, web, payments, expect); err != nil {
			t.Fatalf("handshake %d: %v", n, err)
		}
		n++
		now, err := payments.GetX509SVID()
		if err != nil {
			t.Fatal(err)
		}
		other, err := web.GetX509SVID()
		if err != nil {
			t.Fatal(err)
		}
		if now != before && len(now.Certificates) > len(before.Certificates) && len(other.Certificates) > 1 {
			break // both have the leaf of the new root, with its cross-signed intermediate
		}
		if ctx.Err() != nil {
			t.Fatalf("no new leaf after %d handshakes", n)
		}
		wait(t)
	}
	t.Logf("%d handshakes through the rotation", n)
	if err := handshake(t, web, payments, expect); err != nil {
		t.Error(err)
	}
}

func TestAgentGone(t *testing.T) {
	t.Parallel()
	for name, join := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lose(t, join)
		})
	}
}

func lose(t *testing.T, join way) {
	agent := ctest.Start(t, consultest.Config{})
	web, payments := join(t, agent, "web"), join(t, agent, "payments")
	old := idOf(t, payments)
	agent.Kill()
	for web.Status().Err == nil {
		wait(t)
	}
	if err := handshake(t, web, payments, old); err != nil {
		t.Errorf("with the agent gone: %v", err)
	}
	// It comes back empty, as another CA with another trust domain and lower indexes.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := agent.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	for idOf(t, payments) == old || idOf(t, web)[:30] != idOf(t, payments)[:30] || web.Status().Err != nil {
		wait(t)
	}
	if err := handshake(t, web, payments, idOf(t, payments)); err != nil {
		t.Errorf("after the agent's return: %v", err)
	}
}

// wait lets a little real time pass in a loop that waits for another process.
func wait(t *testing.T) {
	t.Helper()
	select {
	case <-t.Context().Done():
		t.Fatal("the test's time is over")
	case <-time.After(5 * time.Millisecond):
	}
}

func TestSecondaryDatacenterSendsItsIntermediate(t *testing.T) {
	t.Parallel()
	agents := ctest.Federate(t, consultest.Config{}, "aws", "gcp")
	web, payments := joinGRPC(t, agents[1], "web"), join(t, agents[0], "payments")
	svid, err := web.GetX509SVID()
	if err != nil {
		t.Fatal(err)
	}
	if len(svid.Certificates) < 2 || !strings.Contains(svid.ID.String(), "/dc/gcp/svc/web") {
		t.Errorf("%s with %d certificates, want the intermediate of gcp", svid.ID, len(svid.Certificates))
	}
	if err := handshake(t, web, payments, idOf(t, payments)); err != nil {
		t.Errorf("gcp to aws: %v", err)
	}
	if err := handshake(t, payments, web, idOf(t, web)); err != nil {
		t.Errorf("aws to gcp: %v", err)
	}
}
