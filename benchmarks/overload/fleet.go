package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/benchmarks/internal/virtual"
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver"
)

const (
	replicas    = 2
	workers     = 8                     // of a replica
	clients     = 4                     // members that call
	serviceTime = 10 * time.Millisecond // the mean of an exponential one
	deadline    = 200 * time.Millisecond
	capacity    = float64(replicas*workers) * float64(time.Second/serviceTime)
	service     = "work"
)

// kind is how the replicas protect themselves.
type kind struct {
	name     string
	limit    *resilience.ConcurrencyConfig // nil: no limit
	deadline bool                          // refuse what is too late
}

// kinds are those that are compared; the last is the one that counts.
func kinds() []kind {
	return []kind{
		{"nothing", nil, false},
		{"deadlines", nil, true}, // what a member does without being told
		{"gradient2", &resilience.ConcurrencyConfig{Gradient2: true}, true},
		{"vegas", &resilience.ConcurrencyConfig{}, true},
	}
}

// fleet is the members of one run.
type fleet struct {
	embedded *mesh.Embedded
	net      virtual.Net
	working  atomic.Int64 // handlers that have not returned
	callers  []grpc_testing.TestServiceClient
	closers  []func()
}

func newFleet(ctx context.Context, k kind, seed uint64) (*fleet, error) {
	f := &fleet{}
	var err error
	if f.embedded, err = mesh.NewEmbedded(nil); err != nil {
		return f, err
	}
	for i := range replicas {
		if err := f.serve(ctx, k, rand.New(rand.NewPCG(seed, uint64(i)))); err != nil {
			return f, err
		}
	}
	time.Sleep(time.Second) // what was announced is known
	for range clients {
		if err := f.call(ctx); err != nil {
			return f, err
		}
	}
	time.Sleep(time.Second)
	return f, nil
}

func (f *fleet) close() {
	for i := len(f.closers) - 1; i >= 0; i-- {
		f.closers[i]()
	}
}

func (f *fleet) join(ctx context.Context, name string, in mesh.InboundPolicy) (*mesh.Mesh, error) {
	m, err := mesh.Join(ctx, mesh.Config{
		Service:  name,
		Locality: resolver.Locality{Cloud: "aws"},
		Embedded: f.embedded,
		Policy: mesh.ServicePolicy{
			Idempotent: []string{"/grpc.testing.TestService/"},
			Throttle:   &resilience.ThrottleConfig{},
		},
		Inbound:      in,
		Propagation:  -1,
		DrainTimeout: -1,
	})
	if err == nil {
		f.closers = append(f.closers, func() { _ = m.Leave(context.Background()) })
	}
	return m, err
}

// serve starts a replica.
func (f *fleet) serve(ctx context.Context, k kind, rnd *rand.Rand) error {
	m, err := f.join(ctx, service, mesh.InboundPolicy{NoDeadline: !k.deadline, Concurrency: k.limit})
	if err != nil {
		return err
	}
	srv := m.NewGRPCServer()
	grpc_testing.RegisterTestServiceServer(srv, &replica{f: f, slots: make(chan struct{}, workers), rnd: rnd})
	ctx, stop := context.WithCancel(ctx)
	var served sync.WaitGroup
	l := f.net.Listen()
	served.Go(func() { _ = m.Serve(ctx, srv, l) })
	f.closers = append(f.closers, func() { stop(); served.Wait() })
	return nil
}

// call makes a member that calls.
func (f *fleet) call(ctx context.Context) error {
	m, err := f.join(ctx, "caller", mesh.InboundPolicy{})
	if err != nil {
		return err
	}
	conn, err := m.Dial(service, grpc.WithContextDialer(f.net.Dial))
	if err != nil {
		return err
	}
	f.closers = append(f.closers, func() { _ = conn.Close() })
	conn.Connect()
	f.callers = append(f.callers, grpc_testing.NewTestServiceClient(conn))
	return nil
}

// replica works on a few calls at a time; the others wait.
type replica struct {
	grpc_testing.UnimplementedTestServiceServer
	f     *fleet
	slots chan struct{}
	mu    sync.Mutex
	rnd   *rand.Rand
}

func (r *replica) UnaryCall(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	r.f.working.Add(1)
	defer r.f.working.Add(-1)
	r.mu.Lock()
	took := time.Duration(r.rnd.ExpFloat64() * float64(serviceTime))
	r.mu.Unlock()
	r.slots <- struct{}{} // as code does that does not look at its context
	defer func() { <-r.slots }()
	time.Sleep(took)
	if ctx.Err() != nil {
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	return &grpc_testing.SimpleResponse{}, nil
}
