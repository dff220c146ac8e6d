package main

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	grpcresolver "google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/benchmarks/internal/virtual"
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver"
)

const (
	service     = "trust"
	serviceTime = 10 * time.Millisecond // the mean of an exponential one
	deadline    = 500 * time.Millisecond
	attempt     = 200 * time.Millisecond // of weft_limited
	fromCloud   = "from-cloud"           // the header that says where a call is from
)

// clouds are the two; the replicas of the first are those that become slower.
func clouds() []string { return []string{"aws", "gcp"} }

// fleet is the replicas of one run.
type fleet struct {
	embedded *mesh.Embedded
	net      virtual.Net
	closers  []func()
}

func (f *fleet) close() {
	for i := len(f.closers) - 1; i >= 0; i-- {
		f.closers[i]()
	}
}

func newFleet(ctx context.Context, s scene, k kind, slower float64) (*fleet, error) {
	f := &fleet{}
	var err error
	if f.embedded, err = mesh.NewEmbedded(nil); err != nil {
		return f, err
	}
	for c, cloud := range clouds() {
		for i := range s.replicas {
			r := &replica{cloud: cloud, half: s.apart / 2, turn: make(chan struct{}, 1), mean: serviceTime, rnd: rand.New(rand.NewPCG(s.seed, uint64(c*1000+i)))}
			if c == 0 {
				r.mean = time.Duration(slower * float64(serviceTime))
			}
			if err := k.serve(ctx, f, cloud, r, f.net.Listen()); err != nil {
				return f, err
			}
		}
	}
	return f, nil
}

// replica works on one check at a time, in the order in which they came. It has the
// way to the caller too.
type replica struct {
	grpc_testing.UnimplementedTestServiceServer
	cloud string
	half  time.Duration
	turn  chan struct{}
	mean  time.Duration

	mu  sync.Mutex
	rnd *rand.Rand
}

func (r *replica) UnaryCall(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	way := time.Duration(0)
	if from := metadata.ValueFromIncomingContext(ctx, fromCloud); len(from) == 1 && from[0] != r.cloud {
		way = r.half
	}
	time.Sleep(way)
	r.mu.Lock()
	took := time.Duration(r.rnd.ExpFloat64() * float64(r.mean))
	r.mu.Unlock()
	select {
	case r.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	time.Sleep(took) // work is not given up halfway
	<-r.turn
	time.Sleep(way)
	return &grpc_testing.SimpleResponse{}, nil
}

// kind is one way to call.
type kind struct {
	name   string
	serve  func(ctx context.Context, f *fleet, cloud string, impl grpc_testing.TestServiceServer, l net.Listener) error
	client func(ctx context.Context, f *fleet, cloud string) (*grpc.ClientConn, error)
}

func kinds() []kind {
	return []kind{
		{"round_robin", bareServe, bareClient},
		{"weft", meshServe, meshClient(mesh.ServicePolicy{})},
		{"weft_limited", meshServe, meshClient(mesh.ServicePolicy{Retry: resilience.Retry{AttemptTimeout: attempt}})},
	}
}

func bareServe(_ context.Context, f *fleet, _ string, impl grpc_testing.TestServiceServer, l net.Listener) error {
	srv := grpc.NewServer()
	grpc_testing.RegisterTestServiceServer(srv, impl)
	ended := make(chan struct{})
	go func() { defer close(ended); _ = srv.Serve(l) }()
	f.closers = append(f.closers, func() { srv.Stop(); <-ended })
	return nil
}

// bareClient is naive: all replicas are equal.
func bareClient(_ context.Context, f *fleet, _ string) (*grpc.ClientConn, error) {
	var st grpcresolver.State
	for _, addr := range f.net.Addrs() {
		st.Endpoints = append(st.Endpoints, grpcresolver.Endpoint{Addresses: []grpcresolver.Address{{Addr: addr}}})
	}
	r := manual.NewBuilderWithScheme("bare")
	r.InitialState(st)
	return grpc.NewClient("bare:///"+service, grpc.WithResolvers(r), grpc.WithContextDialer(f.net.Dial),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithIdleTimeout(0),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`))
}

func join(ctx context.Context, f *fleet, name, cloud string, p mesh.ServicePolicy) (*mesh.Mesh, error) {
	p.Idempotent = []string{"/grpc.testing.TestService/"}
	m, err := mesh.Join(ctx, mesh.Config{
		Service:      name,
		Locality:     resolver.Locality{Cloud: cloud, Region: cloud + "-1"},
		Embedded:     f.embedded,
		Policy:       p,
		Propagation:  -1,
		DrainTimeout: -1,
	})
	if err == nil {
		f.closers = append(f.closers, func() { _ = m.Leave(context.Background()) })
	}
	return m, err
}

func meshServe(ctx context.Context, f *fleet, cloud string, impl grpc_testing.TestServiceServer, l net.Listener) error {
	m, err := join(ctx, f, service, cloud, mesh.ServicePolicy{})
	if err != nil {
		return err
	}
	srv := m.NewGRPCServer()
	grpc_testing.RegisterTestServiceServer(srv, impl)
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { defer close(ended); _ = m.Serve(ctx, srv, l) }()
	f.closers = append(f.closers, func() { stop(); <-ended })
	return nil
}

func meshClient(p mesh.ServicePolicy) func(context.Context, *fleet, string) (*grpc.ClientConn, error) {
	return func(ctx context.Context, f *fleet, cloud string) (*grpc.ClientConn, error) {
		m, err := join(ctx, f, "payments", cloud, p)
		if err != nil {
			return nil, err
		}
		return m.Dial(service, grpc.WithContextDialer(f.net.Dial))
	}
}
