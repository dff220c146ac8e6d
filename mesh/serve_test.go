package mesh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/security"
)

// events records the order of what a drain does.
type events struct {
	mu   sync.Mutex
	list []string
}

func (e *events) add(s string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, s)
}

// watched tells when an instance comes and goes.
type watched struct {
	resolver.Registrar
	registered chan struct{}
	gone       func()
}

func (w watched) Register(ctx context.Context, in resolver.Instance) (func(context.Context) error, error) {
	f, err := w.Registrar.Register(ctx, in)
	close(w.registered)
	return func(ctx context.Context) error {
		err := f(ctx)
		w.gone()
		return err
	}, err
}

const callerID = "spiffe://weft.dev.internal/ns/default/dc/local/svc/caller"

func TestGRPCAndHTTPUnderOneName(t *testing.T) {
	t.Parallel()
	e := embedded(t)
	server := member(t, Config{Service: "pay", Embedded: e})
	serve(t, server, grpcServer(server, &echo{}))
	serve(t, server, httpServerOf(t, server, func(w http.ResponseWriter, r *http.Request) {
		peer, _ := security.PeerFromRequest(r)
		fmt.Fprintf(w, "%s %s %s", peer, r.Host, r.URL.Path)
	}))
	caller := member(t, Config{Service: "caller", Embedded: e})
	ctx := bound(t)
	// Registrations may still be under way: calls wait for them.
	reply, err := dial(t, caller, "pay").UnaryCall(ctx, &grpc_testing.SimpleRequest{}, grpc.WaitForReady(true))
	if err != nil || reply.Username != callerID {
		t.Errorf("gRPC: %v, %v; want the caller's identity", reply.GetUsername(), err)
	}
	for {
		body, err := get(ctx, caller, "http://pay/items/7")
		if errors.Is(err, balancer.ErrNoEndpoint) && ctx.Err() == nil {
			continue // not announced yet
		}
		if want := callerID + " pay /items/7"; err != nil || body != want {
			t.Errorf("HTTP: %q, %v; want %q", body, err, want)
		}
		break
	}
}

// A drain leaves the catalog first, serves on, and waits for the calls in flight.
func TestDrain(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"grpc", "http"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			e := embedded(t)
			var ev events
			gone := make(chan struct{})
			reg := watched{e.Catalog, make(chan struct{}), func() { ev.add("deregistered"); close(gone) }}
			server := member(t, Config{Service: "pay", Embedded: e, Registrar: reg, Propagation: 1})
			h := &echo{entered: make(chan struct{}), hold: make(chan struct{})}
			var srv any = grpcServer(server, h)
			if protocol == "http" {
				srv = httpServerOf(t, server, func(w http.ResponseWriter, _ *http.Request) {
					h.wait()
					_, _ = w.Write([]byte("ok"))
				})
			}
			_, stop := serve(t, server, srv)
			<-reg.registered
			caller := member(t, Config{Service: "caller", Embedded: e})
			ctx := bound(t)
			call := func() error {
				if protocol == "http" {
					body, err := get(ctx, caller, "http://pay/")
					if err == nil && body != "ok" {
						err = fmt.Errorf("body %q", body)
					}
					return err
				}
				_, err := dial(t, caller, "pay").EmptyCall(ctx, &grpc_testing.Empty{})
				return err
			}
			result := make(chan error, 1)
			go func() { result <- call() }()
			h.inFlight(t, result)
			served := make(chan error, 1)
			go func() {
				err := stop()
				ev.add("served")
				served <- err
			}()
			<-gone
			ev.add("finish call")
			close(h.hold)
			if err := <-result; err != nil {
				t.Errorf("the call in flight failed: %v", err)
			}
			if err := <-served; err != nil {
				t.Errorf("Serve: %v", err)
			}
			if got := strings.Join(ev.list, ", "); got != "deregistered, finish call, served" {
				t.Errorf("order: %s", got)
			}
			if err := call(); !errors.Is(err, balancer.ErrNoEndpoint) && status.Code(err) != codes.Unavailable {
				t.Errorf("a call after the drain: %v", err)
			}
		})
	}
}

// The bound on a drain cuts a call that never ends.
func TestDrainTimeout(t *testing.T) {
	t.Parallel()
	e := embedded(t)
	reg := watched{e.Catalog, make(chan struct{}), func() {}}
	server := member(t, Config{Service: "pay", Embedded: e, Registrar: reg, Propagation: -1, DrainTimeout: 1})
	h := &echo{entered: make(chan struct{}), hold: make(chan struct{})}
	_, stop := serve(t, server, grpcServer(server, h))
	<-reg.registered
	caller := member(t, Config{Service: "caller", Embedded: e})
	client := dial(t, caller, "pay")
	result := make(chan error, 1)
	go func() {
		_, err := client.EmptyCall(bound(t), &grpc_testing.Empty{})
		result <- err
	}()
	h.inFlight(t, result)
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	if err := <-result; status.Code(err) != codes.Unavailable {
		t.Errorf("the call that was cut: %v", err)
	}
	close(h.hold) // grpc waits for handlers
	if err := <-stopped; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	e := embedded(t)
	gone := make(chan struct{})
	reg := watched{e.Catalog, make(chan struct{}), func() { close(gone) }}
	server := member(t, Config{Service: "pay", Embedded: e, Registrar: reg})
	_, stop := serve(t, server, grpcServer(server, &echo{}))
	<-reg.registered
	caller := member(t, Config{Service: "caller", Embedded: e})
	conn, err := caller.Dial("pay")
	if err != nil {
		t.Fatal(err)
	}
	watch, err := healthpb.NewHealthClient(conn).Watch(bound(t), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	next := func() healthpb.HealthCheckResponse_ServingStatus {
		r, err := watch.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return r.Status
	}
	if got := next(); got != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("health of a server that serves: %v", got)
	}
	go func() { _ = stop() }()
	if got := next(); got != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("health of a server that drains: %v", got)
	}
	<-gone
}

func TestServeRefuses(t *testing.T) {
	t.Parallel()
	m := member(t, Config{Service: "pay"})
	for name, tt := range map[string]struct {
		srv  any
		want string
	}{
		"a server that is not ours":  {grpc.NewServer(), "NewGRPCServer"},
		"an HTTP server without TLS": {&http.Server{}, "NewHTTPServer"},
		"something else":             {42, "cannot serve a int"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var e *Error
			err = m.Serve(t.Context(), tt.srv, l)
			if !errors.As(err, &e) || e.Op != "serve" || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v does not name %s", err, tt.want)
			}
			if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the listener was left open: %v", err)
			}
		})
	}
}

// failing is a catalog that nobody can register in.
type failing struct{ err error }

func (f failing) Register(context.Context, resolver.Instance) (func(context.Context) error, error) {
	return nil, f.err
}

func TestServeFailsIfItCannotAnnounce(t *testing.T) {
	t.Parallel()
	cause := errors.New("no permission")
	m := member(t, Config{Service: "pay", Registrar: failing{cause}})
	_, stop := serve(t, m, grpcServer(m, &echo{}))
	if err := stop(); err != nil && !errors.Is(err, cause) {
		t.Errorf("Serve: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Serve(t.Context(), grpcServer(m, &echo{}), l); !errors.Is(err, cause) {
		t.Errorf("Serve = %v, want %v", err, cause)
	}
}

func TestAdvertised(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		advertise string
		addr      net.Addr
		host      string // empty: any that is not unspecified
		port      int
		fails     bool
	}{
		"the listener's":      {"", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9000}, "127.0.0.1", 9000, false},
		"IPv6":                {"", &net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 9000}, "2001:db8::1", 9000, false},
		"a host":              {"pay.internal", &net.TCPAddr{IP: net.IPv4zero, Port: 9000}, "pay.internal", 9000, false},
		"a host and a port":   {"pay.internal:443", &net.TCPAddr{Port: 9000}, "pay.internal", 443, false},
		"an IPv6 host":        {"[2001:db8::1]:443", &net.TCPAddr{Port: 9000}, "2001:db8::1", 443, false},
		"a bad port":          {"pay.internal:0", &net.TCPAddr{Port: 9000}, "", 0, true},
		"not a TCP listener":  {"", &net.UnixAddr{Name: "/s"}, "", 0, true},
		"a port out of range": {"h:70000", &net.TCPAddr{Port: 9000}, "", 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := &Mesh{cfg: &resolved{Config: Config{Advertise: tt.advertise}}}
			host, port, err := m.advertised(tt.addr)
			if host != tt.host || port != tt.port || (err != nil) != tt.fails {
				t.Errorf("advertised() = %q, %d, %v", host, port, err)
			}
		})
	}
}
