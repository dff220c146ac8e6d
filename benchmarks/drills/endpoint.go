package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/consul"
)

// roleEnv tells a process of the drills what to be.
const roleEnv = "WEFT_DRILLS_ROLE"

// role is an endpoint of a service.
type role struct {
	Service, Name, Cloud, Consul, Advertise, Listen string
}

const idKey = "drill-id"

// serve is the process of an endpoint. It says on its output what it has got, and
// takes orders on its input, until that ends.
func serve(ctx context.Context, text string) error {
	var r role
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return fmt.Errorf("%s: %w", roleEnv, err)
	}
	source, err := consul.New(consul.Config{Name: r.Cloud, Address: r.Consul})
	if err != nil {
		return err
	}
	w := &worker{out: bufio.NewWriter(os.Stdout)}
	m, err := mesh.Join(ctx, mesh.Config{
		Service:      r.Service,
		InstanceID:   r.Service + "-" + r.Name,
		Locality:     resolver.Locality{Cloud: r.Cloud},
		Clouds:       []consul.Config{{Name: r.Cloud, Address: r.Consul}},
		Registrar:    told{source, w},
		SnapshotDir:  "off",
		Advertise:    r.Advertise,
		Propagation:  time.Second,
		DrainTimeout: 5 * time.Second,
	})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", r.Listen)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		w.obey(os.Stdin)
		cancel()
	}()
	srv := m.NewGRPCServer()
	grpc_testing.RegisterTestServiceServer(srv, w)
	err = m.Serve(ctx, srv, l)
	return errors.Join(err, m.Leave(context.Background()), source.Close(context.Background()))
}

// told says when the endpoint is announced.
type told struct {
	resolver.Registrar
	w *worker
}

func (t told) Register(ctx context.Context, in resolver.Instance) (func(context.Context) error, error) {
	f, err := t.Registrar.Register(ctx, in)
	if err == nil {
		t.w.say("ready")
	}
	return f, err
}
