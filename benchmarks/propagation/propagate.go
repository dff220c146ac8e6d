package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/weft-mesh/weft/benchmarks/internal/fleet"
	"github.com/weft-mesh/weft/internal/consultest"
)

// spread is how soon all clients followed the changes.
type spread struct {
	every              time.Duration // between two calls of a client
	found, gone, write []time.Duration
	failed             int64
}

const (
	// callsPerSecond bounds the load of all clients together.
	callsPerSecond = 10_000
	// rest is the time between two changes: the first of a burst is what is measured.
	rest = 25 * time.Millisecond
	// within is when a client must have followed a change.
	within = 30 * time.Second
)

// sight is a client's first call on the instance that it was to look for.
type sight struct {
	change int64
	at     time.Time
}

// watchers call a service and tell when the wanted instance answers.
type watchers struct {
	wanted atomic.Pointer[wanted]
	seen   chan sight
	failed atomic.Int64
	err    atomic.Pointer[error]
	wg     sync.WaitGroup
}

type wanted struct {
	change int64
	name   string
}

// propagate measures clients that are members of their own, or with shared, channels
// of one member.
func propagate(ctx context.Context, agent *consultest.Agent, service string, clients, changes int, shared bool) (s spread, err error) {
	f, err := fleet.New(ctx, agent, service, nil)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	ports := map[string]int{}
	for _, name := range []string{"old", "new"} {
		if ports[name], err = f.Serve(ctx, name); err != nil {
			return s, err
		}
	}
	if err := f.Register("old", ports["old"], 1); err != nil {
		return s, err
	}
	members := clients
	if shared {
		members = 1
	}
	crowd, err := gather(ctx, agent, members)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, crowd.leave()) }()
	ctx, cancel := context.WithCancel(ctx)
	w := &watchers{seen: make(chan sight, clients)}
	defer w.wg.Wait()
	defer cancel()
	s.every = max(time.Millisecond, time.Duration(clients)*time.Second/callsPerSecond)
	for i := range clients {
		conn, err := crowd.members[i%members].Dial(service)
		if err != nil {
			return s, err
		}
		w.wg.Go(func() { w.call(ctx, grpc_testing.NewTestServiceClient(conn), s.every) })
	}
	follow := func(change int, name string, write func() error) ([]time.Duration, time.Duration, error) {
		return w.follow(ctx, clients, wanted{int64(change), name}, write)
	}
	if _, _, err := follow(0, "old", func() error { return nil }); err != nil { // all are connected
		return s, err
	}
	err = s.measure(f, ports, changes, follow)
	s.failed = w.failed.Load()
	return s, err
}

// measure lets the new instance come and go.
func (s *spread) measure(f *fleet.Fleet, ports map[string]int, changes int, follow func(int, string, func() error) ([]time.Duration, time.Duration, error)) error {
	for i := range changes {
		found, wrote, err := follow(2*i+1, "new", func() error { return f.Register("new", ports["new"], 65535) })
		if err != nil {
			return err
		}
		gone, _, err := follow(2*i+2, "old", func() error { return f.Deregister("new") })
		if err != nil {
			return err
		}
		s.found, s.gone, s.write = append(s.found, found...), append(s.gone, gone...), append(s.write, wrote)
	}
	return nil
}

// follow makes a change, and waits until all clients have followed it.
func (w *watchers) follow(ctx context.Context, clients int, want wanted, write func() error) (took []time.Duration, wrote time.Duration, err error) {
	select {
	case <-time.After(rest):
	case <-ctx.Done():
	}
	began := time.Now()
	w.wanted.Store(&want)
	if err := write(); err != nil {
		return nil, 0, err
	}
	wrote = time.Since(began)
	late := time.NewTimer(within)
	defer late.Stop()
	for len(took) < clients {
		select {
		case got := <-w.seen:
			if got.change == want.change {
				took = append(took, got.at.Sub(began))
			}
		case <-late.C:
			return nil, 0, fmt.Errorf("after %v only %d of %d clients use %q; last error: %v", within, len(took), clients, want.name, w.lastErr())
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
	return took, wrote, nil
}

// call is one client.
func (w *watchers) call(ctx context.Context, client grpc_testing.TestServiceClient, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	told := int64(-1)
	for {
		r, err := client.UnaryCall(ctx, &grpc_testing.SimpleRequest{})
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			w.failed.Add(1)
			w.err.Store(&err)
		} else if want := w.wanted.Load(); want != nil && want.change != told && want.name == r.GetHostname() {
			told = want.change
			w.seen <- sight{told, time.Now()}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (w *watchers) lastErr() error {
	if err := w.err.Load(); err != nil {
		return *err
	}
	return nil
}
