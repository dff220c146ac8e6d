package mesh_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/consul"
	"github.com/weft-mesh/weft/security"
)

// patience bounds a wait for something that must happen. An agent that could not
// tell its servers of a change tries again after a minute.
const patience = 2 * time.Minute

// until polls other processes for something that must become true.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// at is a member of an agent's cloud. Its servers end at once.
func at(a *consultest.Agent, service string) mesh.Config {
	return mesh.Config{
		Service:     service,
		Locality:    resolver.Locality{Cloud: a.Datacenter},
		Clouds:      []consul.Config{{Name: a.Datacenter, Address: a.HTTPAddr(), Token: a.Token()}},
		SnapshotDir: "off",
		Propagation: -1,
	}
}

// graceful is a member whose servers are still there when callers hear that they leave.
func graceful(a *consultest.Agent, service string) mesh.Config {
	cfg := at(a, service)
	cfg.Propagation = time.Second
	return cfg
}

// join makes a member that leaves when the test ends.
func join(t testing.TB, cfg mesh.Config) *mesh.Mesh {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	m, err := mesh.Join(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { leave(t, m) })
	return m
}

func leave(t testing.TB, m *mesh.Mesh) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := m.Leave(ctx); err != nil {
		t.Errorf("leave: %v", err)
	}
}

// instance is a service that serves gRPC and HTTP under one name.
type instance struct {
	name    string
	m       *mesh.Mesh
	addrs   [2]string // gRPC, HTTP
	handled atomic.Int64
	// gate, if set before a call comes, holds the call until it is closed.
	gate chan struct{}

	cut     []*cutListener
	crashed atomic.Bool
	end     context.CancelFunc
	served  sync.WaitGroup
	errs    [2]error
	once    sync.Once
}

// start runs an instance and returns when both servers are announced.
func start(t testing.TB, name string, cfg mesh.Config) *instance {
	t.Helper()
	in := newInstance(t, name, cfg)
	in.serve(t)
	return in
}

func newInstance(t testing.TB, name string, cfg mesh.Config) *instance {
	t.Helper()
	if cfg.Registrar == nil {
		source, err := consul.New(cfg.Clouds[0])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = source.Close(context.Background()) })
		cfg.Registrar = source
	}
	in := &instance{name: name}
	cfg.Registrar = &announcer{Registrar: cfg.Registrar, in: in}
	in.m = join(t, cfg)
	return in
}

func (in *instance) serve(t testing.TB) {
	t.Helper()
	ctx, end := context.WithCancel(context.Background())
	in.end = end
	t.Cleanup(func() { in.stop(t) })
	g := in.m.NewGRPCServer()
	grpc_testing.RegisterTestServiceServer(g, answering{in: in})
	h, err := in.m.NewHTTPServer(in)
	if err != nil {
		t.Fatal(err)
	}
	announced := &sync.WaitGroup{}
	for i, srv := range []any{g, h} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		cl := &cutListener{Listener: l, conns: map[net.Conn]bool{}}
		in.cut = append(in.cut, cl)
		in.addrs[i] = l.Addr().String()
		announced.Add(1)
		once := sync.OnceFunc(announced.Done)
		in.served.Go(func() {
			defer once()
			in.errs[i] = in.m.Serve(context.WithValue(ctx, announcedKey{}, once), srv, cl)
		})
	}
	announced.Wait()
}

// stop leaves gracefully: out of the catalog, drain, close.
func (in *instance) stop(t testing.TB) {
	t.Helper()
	in.once.Do(func() {
		in.end()
		in.served.Wait()
		if err := errors.Join(in.errs[:]...); err != nil && !in.crashed.Load() {
			t.Errorf("instance %s: %v", in.name, err)
		}
		leave(t, in.m)
	})
}

// crash cuts all connections at once, and says no goodbye to Consul.
func (in *instance) crash() {
	in.crashed.Store(true)
	for _, l := range in.cut {
		l.cut()
	}
}

type announcedKey struct{}

// announcer tells the waiting test that an announcement is through. A crashed
// instance does not deregister.
type announcer struct {
	resolver.Registrar
	in *instance
}

func (a *announcer) Register(ctx context.Context, in resolver.Instance) (func(context.Context) error, error) {
	deregister, err := a.Registrar.Register(ctx, in)
	if done, ok := ctx.Value(announcedKey{}).(func()); ok && err == nil {
		done()
	}
	return func(ctx context.Context) error {
		if a.in.crashed.Load() {
			return nil
		}
		return deregister(ctx)
	}, err
}

// cutListener can reset everything that it accepted, as the end of a machine does.
type cutListener struct {
	net.Listener
	mu    sync.Mutex
	conns map[net.Conn]bool
	dead  bool
}

func (l *cutListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	l.conns[c] = true
	return c, nil
}

func (l *cutListener) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
	_ = l.Listener.Close()
	for c := range l.conns {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
}

type answering struct {
	grpc_testing.UnimplementedTestServiceServer
	in *instance
}

func (a answering) UnaryCall(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	peer, _ := security.PeerFromContext(ctx)
	a.in.handle()
	return &grpc_testing.SimpleResponse{Username: peer.String(), Hostname: a.in.name}, nil
}

func (a answering) FullDuplexCall(s grpc_testing.TestService_FullDuplexCallServer) error {
	for {
		if _, err := s.Recv(); err != nil {
			return nil
		}
		if err := s.Send(&grpc_testing.StreamingOutputCallResponse{}); err != nil {
			return err
		}
	}
}

func (in *instance) handle() {
	in.handled.Add(1)
	if in.gate != nil {
		<-in.gate
	}
}

func (in *instance) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	peer, _ := security.PeerFromRequest(r)
	in.handle()
	fmt.Fprintf(w, "%s %s", in.name, peer)
}

// answer says who answered a call, and whom it saw calling.
type answer struct{ server, peer string }

type call func(context.Context) (answer, error)

// calls are one call of each protocol to a service.
func calls(t testing.TB, m *mesh.Mesh, service string) map[string]call {
	t.Helper()
	conn, err := m.Dial(service)
	if err != nil {
		t.Fatal(err)
	}
	client := grpc_testing.NewTestServiceClient(conn)
	return map[string]call{
		"gRPC": func(ctx context.Context) (answer, error) {
			r, err := client.UnaryCall(ctx, &grpc_testing.SimpleRequest{})
			return answer{r.GetHostname(), r.GetUsername()}, err
		},
		"HTTP": func(ctx context.Context) (a answer, err error) {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+service+"/items/7", nil)
			if err != nil {
				return a, err
			}
			resp, err := m.HTTPClient().Do(req)
			if err != nil {
				return a, err
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				return a, err
			}
			_, err = fmt.Sscan(string(body), &a.server, &a.peer)
			return a, err
		},
	}
}

// each runs f for each protocol.
func each(t *testing.T, all map[string]call, f func(t *testing.T, c call)) {
	t.Helper()
	for kind, c := range all {
		t.Run(kind, func(t *testing.T) { f(t, c) })
	}
}
