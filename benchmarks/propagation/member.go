package main

import (
	"context"
	"errors"
	"net"
	"sync"

	"github.com/hashicorp/consul/api"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resolver/consul"
	"github.com/weft-mesh/weft/resolver/static"
)

// member is the configuration of a member of the agent's cloud. The next call
// after a change is to show it: nothing warms up, weight decides.
func member(agent *consultest.Agent, service string) mesh.Config {
	return mesh.Config{
		Service:     service,
		Clouds:      []consul.Config{{Name: agent.Datacenter, Address: agent.HTTPAddr()}},
		SnapshotDir: "off",
		Propagation: -1,
		Balancer:    balancer.Config{Policy: balancer.Random{}, SlowStart: -1},
	}
}

// fleet is instances of one service in this process. The benchmark itself writes
// them to the catalog: what the agent would do in the background, at once.
type fleet struct {
	agent   *consultest.Agent
	service string
	m       *mesh.Mesh
	stop    context.CancelFunc
	wg      sync.WaitGroup
	errs    chan error
}

func newFleet(ctx context.Context, agent *consultest.Agent, service string) (*fleet, error) {
	cfg := member(agent, service)
	cfg.Registrar = static.New(static.Config{})
	m, err := mesh.Join(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &fleet{agent: agent, service: service, m: m, stop: func() {}, errs: make(chan error, 16)}, nil
}

// serve runs an instance that answers with its name, and returns its port.
func (f *fleet) serve(ctx context.Context, name string) (port int, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	before := f.stop
	f.stop = func() { cancel(); before() }
	srv := f.m.NewGRPCServer()
	grpc_testing.RegisterTestServiceServer(srv, named{name: name})
	f.wg.Go(func() { f.errs <- f.m.Serve(ctx, srv, l) })
	return l.Addr().(*net.TCPAddr).Port, nil
}

// register writes an instance, and returns when Consul has it.
func (f *fleet) register(name string, port, weight int) error {
	_, err := f.agent.Client().Catalog().Register(&api.CatalogRegistration{
		Node: f.service + "-" + name, Address: "127.0.0.1",
		Service: &api.AgentService{
			ID: name, Service: f.service, Address: "127.0.0.1", Port: port,
			Meta:    map[string]string{consul.MetaProtocol: "grpc", consul.MetaNative: "true"},
			Weights: api.AgentWeights{Passing: weight, Warning: 1},
			Connect: &api.AgentServiceConnect{Native: true},
		},
	}, nil)
	return err
}

func (f *fleet) deregister(name string) error {
	_, err := f.agent.Client().Catalog().Deregister(&api.CatalogDeregistration{Node: f.service + "-" + name}, nil)
	return err
}

func (f *fleet) close() error {
	f.stop()
	f.wg.Wait()
	close(f.errs)
	var errs []error
	for err := range f.errs {
		errs = append(errs, err)
	}
	return errors.Join(append(errs, f.m.Leave(context.Background()))...)
}

type named struct {
	grpc_testing.UnimplementedTestServiceServer
	name string
}

func (n named) UnaryCall(context.Context, *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	return &grpc_testing.SimpleResponse{Hostname: n.name}, nil
}
