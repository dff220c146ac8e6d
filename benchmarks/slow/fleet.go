package main

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/benchmarks/internal/virtual"
	"github.com/weft-mesh/weft/mesh"
)

const (
	serviceTime = 10 * time.Millisecond // the mean of an exponential one
	halfTrip    = 250 * time.Microsecond
	deadline    = time.Second // of a call, from when it is due
)

// fleet is the replicas of one run; the first is the slow one.
type fleet struct {
	embedded *mesh.Embedded
	replicas []*replica
	net      virtual.Net
	closers  []func()
}

// newFleet starts the replicas with serve, which returns when one listens.
func newFleet(ctx context.Context, s scene, seed uint64, serve server) (*fleet, error) {
	f := &fleet{}
	var err error
	if f.embedded, err = mesh.NewEmbedded(nil); err != nil {
		return f, err
	}
	for i := range s.replicas {
		r := &replica{turn: make(chan struct{}, 1), mean: serviceTime, rnd: rand.New(rand.NewPCG(seed, uint64(i)))}
		if i == 0 {
			r.mean = time.Duration(s.slow * float64(serviceTime))
		}
		f.replicas = append(f.replicas, r)
		if err := serve(ctx, f, r, f.net.Listen()); err != nil {
			return f, err
		}
	}
	return f, nil
}

func (f *fleet) close() {
	for i := len(f.closers) - 1; i >= 0; i-- {
		f.closers[i]()
	}
}

// calls is how many calls reached the slow replica, and all of them.
func (f *fleet) calls() (slow, all int) {
	for i, r := range f.replicas {
		r.mu.Lock()
		all += r.calls
		if i == 0 {
			slow = r.calls
		}
		r.mu.Unlock()
	}
	return slow, all
}

// replica works on one call at a time, in the order in which they came. It has the
// round trip too: half of it before the queue, half after the work.
type replica struct {
	grpc_testing.UnimplementedTestServiceServer
	turn chan struct{}
	mean time.Duration

	mu    sync.Mutex
	rnd   *rand.Rand
	calls int
}

func (r *replica) UnaryCall(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	time.Sleep(halfTrip)
	r.mu.Lock()
	r.calls++
	took := time.Duration(r.rnd.ExpFloat64() * float64(r.mean))
	r.mu.Unlock()
	select {
	case r.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	time.Sleep(took) // work is not given up halfway
	<-r.turn
	time.Sleep(halfTrip)
	return &grpc_testing.SimpleResponse{}, nil
}

// server starts a replica.
type server func(ctx context.Context, f *fleet, impl grpc_testing.TestServiceServer, l net.Listener) error

// client makes one client of the fleet.
type client func(ctx context.Context, f *fleet) (*grpc.ClientConn, error)
