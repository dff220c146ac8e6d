// Package fleet is what the benchmarks on a real Consul share: members of the
// agent's cloud, and instances that the benchmark itself writes to the catalog,
// which is what the agent would do in the background.
package fleet

import (
	"context"
	"errors"
	"fmt"
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

// Member is the configuration of a member of the agent's cloud. The next call
// after a change is to show it: nothing warms up, weight decides.
func Member(agent *consultest.Agent, service string) mesh.Config {
	return mesh.Config{
		Service:     service,
		Clouds:      []consul.Config{{Name: agent.Datacenter, Address: agent.HTTPAddr()}},
		SnapshotDir: "off",
		Propagation: -1,
		Balancer:    balancer.Config{Policy: balancer.Random{}, SlowStart: -1},
	}
}

// Fleet is instances of one service in this process.
type Fleet struct {
	// Mesh is the member that all instances are of.
	Mesh *mesh.Mesh

	agent   *consultest.Agent
	service string
	stop    context.CancelFunc
	wg      sync.WaitGroup
	mu      sync.Mutex
	errs    []error
}

// New joins; change, if not nil, changes the configuration.
func New(ctx context.Context, agent *consultest.Agent, service string, change func(*mesh.Config)) (*Fleet, error) {
	cfg := Member(agent, service)
	cfg.Registrar = static.New(static.Config{})
	if change != nil {
		change(&cfg)
	}
	m, err := mesh.Join(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &Fleet{Mesh: m, agent: agent, service: service, stop: func() {}}, nil
}

// Serve runs an instance that answers with its name, and returns its port.
func (f *Fleet) Serve(ctx context.Context, name string) (port int, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	before := f.stop
	f.stop = func() { cancel(); before() }
	srv := f.Mesh.NewGRPCServer()
	grpc_testing.RegisterTestServiceServer(srv, named{name: name})
	f.wg.Go(func() {
		err := f.Mesh.Serve(ctx, srv, l)
		f.mu.Lock()
		f.errs = append(f.errs, err)
		f.mu.Unlock()
	})
	return l.Addr().(*net.TCPAddr).Port, nil
}

// Register writes an instance, and returns when Consul has it.
func (f *Fleet) Register(name string, port, weight int) error {
	_, err := f.agent.Client().Catalog().Register(&api.CatalogRegistration{
		Node: f.service + "-" + name, Address: "127.0.0.1",
		Service: &api.AgentService{
			ID: name, Service: f.service, Address: "127.0.0.1", Port: port,
			Meta:    map[string]string{consul.MetaProtocol: "grpc", consul.MetaNative: "true"},
			Weights: api.AgentWeights{Passing: weight, Warning: 1},
			Connect: &api.AgentServiceConnect{Native: true},
		},
	}, nil)
	if err != nil {
		return fmt.Errorf("register %s of %s: %w", name, f.service, err)
	}
	return nil
}

// Deregister removes an instance.
func (f *Fleet) Deregister(name string) error {
	_, err := f.agent.Client().Catalog().Deregister(&api.CatalogDeregistration{Node: f.service + "-" + name}, nil)
	return err
}

// Close ends the instances and the member.
func (f *Fleet) Close() error {
	f.stop()
	f.wg.Wait()
	return errors.Join(append(f.errs, f.Mesh.Leave(context.Background()))...)
}

type named struct {
	grpc_testing.UnimplementedTestServiceServer
	name string
}

func (n named) UnaryCall(context.Context, *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	return &grpc_testing.SimpleResponse{Hostname: n.name}, nil
}
