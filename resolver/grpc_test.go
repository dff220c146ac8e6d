package resolver_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/static"
)

func TestCallsThroughStockRoundRobin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var nw network
		a, b := nw.serve(t, "10.0.0.1:9000"), nw.serve(t, "[2001:db8::1]:9000")
		aws, gcp := static.New(static.Config{Name: "aws"}), static.New(static.Config{Name: "gcp"})
		must(t, aws.Set("payments", resolver.Endpoint{Addr: "10.0.0.1:9000"}))
		must(t, gcp.Set("payments", resolver.Endpoint{Addr: "[2001:db8:0::1]:9000"}))
		m, err := resolver.Merge(resolver.Source{Name: "aws", Catalog: aws}, resolver.Source{Name: "gcp", Catalog: gcp})
		must(t, err)
		for _, target := range []string{"mesh:///payments", "mesh:payments"} {
			cc := nw.dial(t, target, resolver.NewBuilder(m, resolver.BuilderConfig{}))
			must(t, check(t.Context(), cc))
			synctest.Wait() // the second address is connected
			for range 10 {
				must(t, check(t.Context(), cc))
			}
			if got := a.authority.Load(); got != "payments" {
				t.Errorf("%s: authority %q, want payments", target, got)
			}
			must(t, cc.Close())
		}
		if a.calls.Load() < 8 || b.calls.Load() < 8 {
			t.Errorf("calls %d and %d, want both about 11", a.calls.Load(), b.calls.Load())
		}
	})
}

func TestRPCErrorSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		setup func(t *testing.T, c *static.Catalog)
		want  string
	}{
		{"known to be empty", func(*testing.T, *static.Catalog) {}, "no endpoints are in the catalog (known)"},
		{"became empty", func(t *testing.T, c *static.Catalog) {
			must(t, c.Set("payments", resolver.Endpoint{Addr: "10.0.0.9:9000"}))
			go func() { time.Sleep(time.Second); c.Remove("payments") }()
		}, "no endpoints are in the catalog (known)"},
		{"all critical", func(t *testing.T, c *static.Catalog) {
			must(t, c.Set("payments", resolver.Endpoint{Addr: "10.0.0.1:9000", Health: resolver.Critical}))
		}, "all 1 are critical"},
		{"not known yet", func(t *testing.T, c *static.Catalog) { c.Lose(errBroken) }, "not known yet: the source is broken"},
	}
	for _, policy := range []string{"round_robin", "pick_first"} {
		for _, tt := range tests {
			t.Run(policy+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					var nw network
					h := nw.serve(t, "10.0.0.1:9000")
					cat := static.New(static.Config{})
					tt.setup(t, cat)
					cc := nw.dial(t, "mesh:///payments", resolver.NewBuilder(cat, resolver.BuilderConfig{}),
						grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"`+policy+`":{}}]}`))
					cc.Connect()
					time.Sleep(2 * time.Second)
					synctest.Wait()
					err := check(t.Context(), cc)
					if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), tt.want) {
						t.Fatalf("error %v, want Unavailable with %q", err, tt.want)
					}
					// A call that waits for ready goes through when the endpoint appears.
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					done := make(chan error, 1)
					go func() { done <- check(ctx, cc, grpc.WaitForReady(true)) }()
					time.Sleep(time.Second)
					cat.Restore()
					must(t, cat.Set("payments", resolver.Endpoint{Addr: "10.0.0.1:9000"}))
					must(t, <-done)
					if h.calls.Load() != 1 {
						t.Errorf("%d calls, want 1", h.calls.Load())
					}
				})
			})
		}
	}
}

// A misspelled service is the error that users meet first: already the first
// RPC of a channel must say so, every time.
func TestFirstRPCToUnknownServiceNamesIt(t *testing.T) {
	t.Parallel()
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			var nw network
			cc := nw.dial(t, "mesh:///paymnets", resolver.NewBuilder(static.New(static.Config{}), resolver.BuilderConfig{}))
			err := check(t.Context(), cc)
			if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), `service "paymnets": no endpoints are in the catalog`) {
				t.Fatalf("error %v, want Unavailable naming the service", err)
			}
			must(t, cc.Close())
		})
	}
}

// A channel goes idle after 30 minutes without a call; gRPC then closes the
// resolver. The next call finds the list in the cache, the source being lost.
func TestCallAfterIdleWithTheSourceLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var nw network
		h := nw.serve(t, "10.0.0.1:9000")
		cat := static.New(static.Config{})
		src := &counted{Catalog: cat}
		must(t, cat.Set("payments", resolver.Endpoint{Addr: "10.0.0.1:9000"}))
		c := newCache(t, src, resolver.CacheConfig{})
		cc := nw.dial(t, "mesh:///payments", resolver.NewBuilder(c, resolver.BuilderConfig{}))
		must(t, check(t.Context(), cc))

		time.Sleep(50 * time.Minute)
		synctest.Wait()
		if n := src.running.Load(); cc.GetState() != connectivity.Idle || n != 0 {
			t.Fatalf("channel %v with %d watches, want an idle one without", cc.GetState(), n)
		}
		cat.Lose(errBroken)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		must(t, check(ctx, cc))
		if h.calls.Load() != 2 {
			t.Errorf("%d calls arrived, want 2", h.calls.Load())
		}
	})
}

// However many channels a process opens, a source sees one watch per service.
func TestThousandChannelsShareOneWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cat := static.New(static.Config{})
		src := &counted{Catalog: cat}
		set(t, cat, "payments", 3)
		b := resolver.NewBuilder(newCache(t, src, resolver.CacheConfig{}), resolver.BuilderConfig{})
		channels := make([]*channel, 1000)
		for i := range channels {
			channels[i] = &channel{}
			build(t, b, channels[i])
		}
		first := channels[0].last(t).Endpoints
		for _, c := range channels {
			if eps := c.last(t).Endpoints; len(eps) != 3 || &eps[0] != &first[0] {
				t.Fatal("a channel has endpoints of its own: they are converted once for all")
			}
		}
		if n := src.begun.Load(); n != 1 {
			t.Errorf("%d watches, want 1", n)
		}
	})
}

// Closing a channel while the source hangs leaves nothing behind: the bubble ends
// only when all its goroutines have.
func TestCloseWithAWatchInFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var nw network
		c := newCache(t, silent{}, resolver.CacheConfig{})
		cc := nw.dial(t, "mesh:///payments", resolver.NewBuilder(c, resolver.BuilderConfig{}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := check(ctx, cc); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("error %v, want DeadlineExceeded: nothing is known yet", err)
		}
		start := time.Now()
		must(t, cc.Close())
		if d := time.Since(start); d > 0 {
			t.Errorf("Close took %v", d)
		}
	})
}

// Two instances behind one address, and one with weight 0 from a careless catalog.
func TestOddEndpoints(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var nw network
		h := nw.serve(t, "10.0.0.1:9000")
		eps := []*resolver.Endpoint{
			{ID: resolver.ID{Node: "a"}, Addr: "10.0.0.1:9000", Weight: 0},
			{ID: resolver.ID{Node: "b"}, Addr: "10.0.0.1:9000", Weight: 5},
		}
		cc := nw.dial(t, "mesh:///payments", resolver.NewBuilder(fixed{&resolver.Snapshot{
			Service: "payments", State: resolver.Known, Endpoints: eps, AsOf: time.Now(),
		}}, resolver.BuilderConfig{}))
		for range 10 {
			must(t, check(t.Context(), cc))
		}
		if h.calls.Load() != 10 || nw.dials.Load() != 1 {
			t.Errorf("%d calls over %d connections, want 10 over 1", h.calls.Load(), nw.dials.Load())
		}
	})
}

// fixed is a source that says one thing.
type fixed struct{ s *resolver.Snapshot }

func (f fixed) Watch(ctx context.Context, _ string, deliver func(*resolver.Snapshot)) error {
	deliver(f.s)
	<-ctx.Done()
	return ctx.Err()
}

// Channels that open, call and close while the catalog churns: nothing hangs, and
// nothing stays.
func TestChurnWhileChannelsComeAndGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var nw network
		nw.serve(t, addr(1))
		cat := static.New(static.Config{})
		set(t, cat, "payments", 1)
		b := resolver.NewBuilder(newCache(t, cat, resolver.CacheConfig{Hold: -1}), resolver.BuilderConfig{})
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
					must(t, cat.Set("payments", endpoints(i%5+1)...))
				}
			}
		})
		var users sync.WaitGroup
		for i := range 20 {
			users.Go(func() {
				for range 5 {
					cc := nw.dial(t, "mesh:///payments", b)
					if i%2 == 0 {
						_ = check(t.Context(), cc, grpc.WaitForReady(true))
					} else {
						cc.Connect()
						time.Sleep(time.Duration(i) * time.Millisecond)
					}
					if err := cc.Close(); err != nil {
						t.Error(err)
					}
				}
			})
		}
		users.Wait()
		close(stop)
		wg.Wait()
	})
}
