package mesh

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/internal/drill"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/chain"
)

// lateHost is an instance of web at an address of a network in memory, over gRPC and
// HTTP, that takes its time in each phase of a connection.
type lateHost struct {
	*drill.Net
	ports    [2]*drill.Listener // gRPC's and HTTP's
	accepted [2]atomic.Int32
	dial     atomic.Int64 // nanoseconds, as the others
	tls      atomic.Int64
	settings atomic.Int64
	over     chan struct{}
}

func (h *lateHost) pause(ctx context.Context, d *atomic.Int64) error {
	select {
	case <-time.After(time.Duration(d.Load())):
	case <-h.over:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// lateConn is the host's end: it reads no hello before its time, and after the
// handshake, which it ends with its first write, it is silent for its time.
type lateConn struct {
	net.Conn
	h      *lateHost
	once   sync.Once
	writes atomic.Int32
}

func (c *lateConn) Read(b []byte) (int, error) {
	c.once.Do(func() { _ = c.h.pause(context.Background(), &c.h.tls) })
	return c.Conn.Read(b)
}

func (c *lateConn) Write(b []byte) (int, error) {
	if c.writes.Add(1) == 2 {
		_ = c.h.pause(context.Background(), &c.h.settings)
	}
	return c.Conn.Write(b)
}

type latePort struct {
	net.Listener
	h *lateHost
	i int
}

func (p latePort) Accept() (net.Conn, error) {
	c, err := p.Listener.Accept()
	if err != nil {
		return nil, err
	}
	p.h.accepted[p.i].Add(1)
	return &lateConn{Conn: c, h: p.h}, nil
}

// startLate starts the host, and a caller that knows nobody else.
func startLate(t *testing.T, ent *entries, cfg Config) (*lateHost, *Mesh) {
	t.Helper()
	h := &lateHost{Net: drill.NewNet(1, func(string, string) time.Duration { return time.Millisecond }), over: make(chan struct{})}
	e := embedded(t)
	for i, id := range []string{"grpc", "http"} {
		l, err := h.Listen("far", &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 81 + i})
		if err != nil {
			t.Fatal(err)
		}
		h.ports[i] = l
		reg := watched{e.Catalog, make(chan struct{}), func() {}}
		m := member(t, Config{Service: "web", InstanceID: id, Locality: resolver.Locality{Cloud: "aws"}, Embedded: e, Registrar: reg, Propagation: -1, DrainTimeout: -1})
		var srv any = httpServerOf(t, m, (&named{name: "web"}).ServeHTTP)
		if id == "grpc" {
			g := m.NewGRPCServer()
			grpc_testing.RegisterTestServiceServer(g, &named{name: "web"})
			srv = g
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); _ = m.Serve(ctx, srv, latePort{l, h, i}) }()
		t.Cleanup(func() { cancel(); <-done })
		<-reg.registered
	}
	t.Cleanup(func() { close(h.over) })
	near := h.Dialer("near")
	cfg.Service, cfg.Embedded, cfg.Chains, cfg.Locality = "caller", e, ent.source(), resolver.Locality{Cloud: "aws"}
	cfg.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if err := h.pause(ctx, &h.dial); err != nil {
			return nil, err
		}
		return near(ctx, network, addr)
	}
	return h, member(t, cfg)
}

func webResolver(timeout string) string {
	if timeout == "" {
		return `{"Kind":"service-resolver","Name":"web","LoadBalancer":{"Policy":"round_robin"}}`
	}
	return `{"Kind":"service-resolver","Name":"web","ConnectTimeout":"` + timeout + `"}`
}

// A service-resolver's ConnectTimeout holds over gRPC for each phase of a connection,
// shorter or longer than the Config's; and nothing is told of it any more.
func TestConnectTimeoutOfAResolver(t *testing.T) {
	t.Parallel()
	const s, ms, never = time.Second, time.Millisecond, 100 * time.Second
	const consul = chain.NameConsul
	for name, tc := range map[string]struct {
		entry    string
		profile  string
		balancer time.Duration
		late     [3]time.Duration // dial, TLS, settings
		fails    time.Duration    // 0: it does not
	}{
		"short, black hole":              {"700ms", "", 0, [3]time.Duration{never}, 700 * ms},
		"short, no TLS":                  {"700ms", "", 0, [3]time.Duration{0, never}, 700 * ms},
		"short, no settings":             {"700ms", "", 0, [3]time.Duration{0, 0, never}, 700 * ms},
		"long, black hole":               {"8s", "", 0, [3]time.Duration{never}, 8 * s},
		"long, no TLS":                   {"8s", "", 0, [3]time.Duration{0, never}, 8 * s},
		"long, no settings":              {"8s", "", 0, [3]time.Duration{0, 0, never}, 8 * s},
		"long, all in time":              {"8s", "", 0, [3]time.Duration{2 * s, 2 * s, 2 * s}, 0},
		"long, all of them too late":     {"8s", "", 0, [3]time.Duration{3 * s, 3 * s, 3 * s}, 8 * s},
		"as the Config's":                {"2s", "", 0, [3]time.Duration{0, 0, never}, 2 * s},
		"no word":                        {"", "", 0, [3]time.Duration{0, 0, never}, 2 * s},
		"Consul's default is no word":    {"5s", "", 0, [3]time.Duration{0, never}, 2 * s},
		"profile consul, no word":        {"", consul, 0, [3]time.Duration{0, never}, 5 * s},
		"profile consul, in time":        {"", consul, 0, [3]time.Duration{0, 0, 4 * s}, 0},
		"profile consul, short":          {"700ms", consul, 0, [3]time.Duration{never}, 700 * ms},
		"Config.Balancer, no word":       {"", "", 4 * s, [3]time.Duration{0, 0, never}, 4 * s},
		"Config.Balancer, and the entry": {"700ms", "", 4 * s, [3]time.Duration{0, 0, never}, 700 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var events drill.Events
				h, m := startLate(t, newEntries(t, `{"Kind":"service-defaults","Name":"web","Protocol":"grpc"}`, webResolver(tc.entry)), Config{
					ConnectTimeout: 2 * s, Balancer: balancer.Config{ConnectTimeout: tc.balancer}, Logger: slog.New(&events),
					Policy: ServicePolicy{Traffic: chain.Policy{Profile: tc.profile}},
				})
				for i, d := range []*atomic.Int64{&h.dial, &h.tls, &h.settings} {
					d.Store(int64(tc.late[i]))
				}
				start := time.Now()
				_, err := dial(t, m, "web").UnaryCall(t.Context(), &grpc_testing.SimpleRequest{})
				took := time.Since(start)
				want := tc.fails
				if want == 0 {
					want = tc.late[0] + tc.late[1] + tc.late[2]
				}
				if (err != nil) != (tc.fails > 0) || took < want || took > want+500*ms {
					t.Errorf("after %v: %v; want about %v", took, err, want)
				}
				if err != nil && !strings.Contains(err.Error(), "within the ConnectTimeout, "+tc.fails.String()) {
					t.Errorf("%v: does not say what ended the attempt", err)
				}
				if p := m.Routes()[0].Problems; slices.ContainsFunc(p, func(p chain.Problem) bool { return p.Field == "ConnectTimeout" }) {
					t.Errorf("problems %v", p)
				}
			})
		})
	}
}

// A change of the entry costs no connection and holds from the next attempt on.
func TestConnectTimeoutChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		defaults := `{"Kind":"service-defaults","Name":"web","Protocol":"http"}`
		ent := newEntries(t, defaults)
		h, m := startLate(t, ent, Config{ConnectTimeout: 2 * time.Second})
		rpc := dial(t, m, "web")
		call := func() {
			t.Helper()
			if _, err := rpc.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{}); err != nil {
				t.Fatal(err)
			}
			if _, err := get(t.Context(), m, "http://web/"); err != nil {
				t.Fatal(err)
			}
		}
		call()
		grpcConns, httpConns := h.accepted[0].Load(), h.accepted[1].Load()
		for _, timeout := range []string{"700ms", "8s", "", "900ms"} {
			if timeout == "" {
				ent.put(t, defaults)
			} else {
				ent.put(t, defaults, webResolver(timeout))
			}
			synctest.Wait()
			call()
		}
		if a, b := h.accepted[0].Load(), h.accepted[1].Load(); a != grpcConns || b != httpConns {
			t.Fatalf("%d and %d connections were made for other timeouts", a-grpcConns, b-httpConns)
		}
		for _, fails := range []time.Duration{900 * time.Millisecond, 8 * time.Second} {
			ent.put(t, defaults, webResolver(fails.String()))
			h.dial.Store(int64(time.Hour))
			h.Reset("far")
			time.Sleep(time.Minute) // attempts that had begun are over, backoffs too
			h.dial.Store(0)
			start := time.Now()
			if _, err := rpc.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{}, grpc.WaitForReady(true)); err != nil {
				t.Fatal(err)
			}
			call()
			if took := time.Since(start); took > 50*time.Second {
				t.Errorf("back after %v", took)
			}
			h.dial.Store(int64(time.Hour))
			h.Reset("far")
			synctest.Wait()
			start = time.Now()
			for _, try := range []func() error{
				func() error { _, err := rpc.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{}); return err },
				func() error { _, err := get(t.Context(), m, "http://web/"); return err },
			} {
				err := try()
				if took := time.Since(start); err == nil || took < fails || took > fails+time.Second {
					t.Errorf("%v after %v, want an error after %v", err, took, fails)
				}
				start = time.Now()
			}
			h.dial.Store(0)
			time.Sleep(time.Minute)
			call()
		}
	})
}

// Plans that share a lane share its connections: the longest of their timeouts holds.
func TestConnectTimeoutOfPlansInOneLane(t *testing.T) {
	t.Parallel()
	const def = 3 * time.Second
	for _, tc := range []struct{ a, b, want time.Duration }{
		{time.Second, 2 * time.Second, 2 * time.Second},
		{2 * time.Second, time.Second, 2 * time.Second},
		{0, time.Second, 0},
		{time.Second, 0, 0},
		{0, 4 * time.Second, 4 * time.Second},
		{4 * time.Second, 0, 4 * time.Second},
		{0, 0, 0},
	} {
		r := &routes{states: map[string]*laneState{}}
		r.add(&laneState{key: "other"})
		r.add(&laneState{key: "a"}).ConnectTimeout = tc.a
		r.allow("a", tc.b, def)
		if got := r.lanes[1].ConnectTimeout; got != tc.want || r.lanes[0].ConnectTimeout != 0 {
			t.Errorf("%v and %v: %v, want %v", tc.a, tc.b, got, tc.want)
		}
	}
}
