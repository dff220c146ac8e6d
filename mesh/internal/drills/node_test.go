package drills

import (
	"context"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/internal/drill"
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/security"
)

// node is one endpoint: a host with a process on it, and the knobs of its work.
type node struct {
	grpc_testing.UnimplementedTestServiceServer
	s     *scene
	name  string
	cloud string
	addr  *net.TCPAddr
	slots chan struct{} // nil: no limit
	next  grpc_testing.TestServiceClient
	also  *drill.Ledger // gets receipts too

	work   atomic.Int64  // nanoseconds
	fail   atomic.Uint64 // float64 bits: share of calls that fail at once
	panics atomic.Bool
	// Where else to panic: in an interceptor of the user's, in the Authorizer.
	interceptorPanics, authorizerPanics atomic.Bool
	got                                 atomic.Int64

	mu   sync.Mutex
	stop func() // ends the process in order, and waits
}

func (s *scene) addNode(name string, cloud, i byte) *node {
	s.t.Helper()
	n := &node{s: s, name: name, cloud: cloudOf(name), addr: &net.TCPAddr{IP: net.IPv4(10, 0, cloud, i+1), Port: 81}}
	n.work.Store(int64(s.cfg.work))
	if s.cfg.slots > 0 {
		n.slots = make(chan struct{}, s.cfg.slots)
	}
	s.nodes = append(s.nodes, n)
	n.start(payments)
	if s.cfg.http {
		n.startHTTP()
	}
	return n
}

// silent never deregisters: a process that dies says no goodbye.
type silent struct{ resolver.Registrar }

func (r silent) Register(ctx context.Context, in resolver.Instance) (func(context.Context) error, error) {
	_, err := r.Registrar.Register(ctx, in)
	return func(context.Context) error { return nil }, err
}

func (n *node) member(service string, addr *net.TCPAddr) (*mesh.Mesh, *drill.Listener) {
	s := n.s
	s.t.Helper()
	cfg := mesh.Config{
		Service:      service,
		InstanceID:   service + "-" + n.name,
		Locality:     resolver.Locality{Cloud: n.cloud},
		Embedded:     s.embedded,
		DrainTimeout: s.cfg.drain,
		Propagation:  s.cfg.propagation,
		DialContext:  s.net.Dialer(n.name),
		Logger:       s.cfg.serverLog,
		Inbound:      s.cfg.inbound,
		Authorize: func(p security.PeerID) error {
			if n.authorizerPanics.Load() {
				panic("drill: the Authorizer panics")
			}
			if p.String() == s.intruderID() {
				return errors.New("nobody knows this one")
			}
			return nil
		},
	}
	if s.cfg.drain == 0 {
		cfg.DrainTimeout, cfg.Propagation, cfg.Registrar = -1, -1, silent{s.embedded.Catalog}
	}
	m, err := mesh.Join(context.Background(), cfg)
	s.must(err)
	l, err := s.net.Listen(n.name, addr)
	s.must(err)
	s.mu.Lock()
	s.names[addr.String()] = n.name
	s.mu.Unlock()
	return m, l
}

// start runs the process; it ends with stop, or the scene.
func (n *node) start(service string) {
	m, l := n.member(service, n.addr)
	srv := m.NewGRPCServer(grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
		if n.interceptorPanics.Load() {
			panic("drill: an interceptor panics")
		}
		return h(ctx, req)
	}))
	grpc_testing.RegisterTestServiceServer(srv, n)
	n.serve(m, srv, l)
}

func (n *node) serve(m *mesh.Mesh, srv any, l net.Listener) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		if err := m.Serve(ctx, srv, l); err != nil {
			n.s.t.Errorf("Serve of %s: %v", n.name, err)
		}
		_ = m.Leave(context.Background())
	})
	before := n.stop
	n.stop = sync.OnceFunc(func() {
		cancel()
		if before != nil {
			before()
		}
		done.Wait()
	})
	n.s.onClose(n.stop)
}

func (n *node) startHTTP() {
	addr := &net.TCPAddr{IP: n.addr.IP, Port: 82}
	m, l := n.member(web, addr)
	srv, err := m.NewHTTPServer(http.HandlerFunc(n.serveHTTP))
	n.s.must(err)
	n.serve(m, srv, l)
}

const idKey = "drill-id"

// receive does the work of a call and notes that it began.
func (n *node) receive(ctx context.Context, id string) error {
	n.got.Add(1)
	if i, err := strconv.Atoi(id); err == nil && i < 0 {
		n.s.intrusions.Got(-i, n.name)
	} else if err == nil {
		n.s.ledger.Got(i, n.name)
	}
	if n.panics.Load() {
		panic("drill: a handler panics")
	}
	if f := math.Float64frombits(n.fail.Load()); f > 0 && rand.Float64() < f {
		return status.Error(codes.Unavailable, "the drill says so")
	}
	if n.slots != nil {
		select {
		case n.slots <- struct{}{}:
			defer func() { <-n.slots }()
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		}
	}
	time.Sleep(time.Duration(n.work.Load())) // work is not given up halfway
	return nil
}

func (n *node) failing(share float64) { n.fail.Store(math.Float64bits(share)) }

func idOf(ctx context.Context) string {
	if v := metadata.ValueFromIncomingContext(ctx, idKey); len(v) > 0 {
		return v[0]
	}
	return ""
}

func (n *node) UnaryCall(ctx context.Context, req *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	if err := n.receive(ctx, idOf(ctx)); err != nil {
		return nil, err
	}
	if n.next != nil {
		return n.next.UnaryCall(metadata.AppendToOutgoingContext(ctx, idKey, idOf(ctx)), req)
	}
	return &grpc_testing.SimpleResponse{}, nil
}

func (n *node) EmptyCall(ctx context.Context, _ *grpc_testing.Empty) (*grpc_testing.Empty, error) {
	return &grpc_testing.Empty{}, n.receive(ctx, idOf(ctx))
}

func (n *node) FullDuplexCall(st grpc.BidiStreamingServer[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse]) error {
	if err := st.Send(&grpc_testing.StreamingOutputCallResponse{Payload: &grpc_testing.Payload{Body: []byte(n.name)}}); err != nil {
		return err
	}
	<-st.Context().Done()
	return st.Context().Err()
}

func (n *node) serveHTTP(w http.ResponseWriter, r *http.Request) {
	if err := n.receive(r.Context(), r.Header.Get(idKey)); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	_, _ = io.WriteString(w, n.name)
}

// do makes a request of the load.
func (s *scene) do(ctx context.Context, r *drill.Request) error {
	id := strconv.Itoa(r.ID)
	switch r.Kind {
	case get, post:
		return s.doHTTP(ctx, r, id)
	case once:
		_, err := s.client.EmptyCall(metadata.AppendToOutgoingContext(ctx, idKey, id), &grpc_testing.Empty{})
		return err
	}
	_, err := s.client.UnaryCall(metadata.AppendToOutgoingContext(ctx, idKey, id), &grpc_testing.SimpleRequest{})
	return err
}

func (s *scene) doHTTP(ctx context.Context, r *drill.Request, id string) error {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) { r.Send(s.name(i.Conn.RemoteAddr())) },
	})
	method := http.MethodGet
	if r.Kind == post {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+web+"/", nil)
	if err != nil {
		return err
	}
	req.Header.Set(idKey, id)
	resp, err := s.caller.HTTPClient().Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err = io.Copy(io.Discard, resp.Body); err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return err
}

// load makes requests for a while: most may be done twice, one in twenty may not.
func (s *scene) load(rate float64, length time.Duration) {
	drill.Open(context.Background(), s.ledger, drill.Load{Rate: rate, Length: length, Next: s.kinds, Do: s.do})
}

func (s *scene) kinds(int) (string, bool) {
	p := s.rnd.IntN(100)
	switch {
	case s.cfg.http && p < 5:
		return post, false
	case s.cfg.http && p < 30:
		return get, true
	case p >= 95, s.cfg.onlyOnce && p >= 50:
		return once, false
	}
	return unary, true
}

// at does something later in the scene, counted from now.
func (s *scene) at(d time.Duration, f func()) { time.AfterFunc(d, f) }

// safe are the requests due in [from, to) that may be done twice.
func (s *scene) safe(from, to time.Duration) []drill.Request {
	return s.ledger.Requests(func(r *drill.Request) bool { return r.Safe && r.Due >= from && r.Due < to })
}

func (s *scene) cloud(name string) []*node {
	var out []*node
	for _, n := range s.nodes {
		if n.cloud == name {
			out = append(out, n)
		}
	}
	return out
}

// connect waits until every endpoint has answered.
func (s *scene) connect() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for range 200 {
		if _, err := s.client.UnaryCall(ctx, &grpc_testing.SimpleRequest{}); err != nil {
			s.t.Fatalf("before the fault: %v", err)
		}
		all := true
		for _, n := range s.nodes {
			all = all && (n.got.Load() > 0 || s.cfg.home != "" && n.cloud != s.cfg.home)
		}
		if all {
			return
		}
	}
	s.t.Fatal("not all endpoints are called")
}
