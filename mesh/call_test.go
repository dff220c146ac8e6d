package mesh

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/security"
)

// pair is a server of pay and its caller, in one embedded mesh.
func pair(t *testing.T, server, caller Config, h *echo) (addr string, client *Mesh) {
	t.Helper()
	e := embedded(t)
	reg := watched{e.Catalog, make(chan struct{}), func() {}}
	server.Service, server.Embedded, server.Registrar, server.Propagation = "pay", e, reg, -1
	m := member(t, server)
	addr, _ = serve(t, m, grpcServer(m, h))
	<-reg.registered
	caller.Service, caller.Embedded = "caller", e
	return addr, member(t, caller)
}

type failingEcho struct {
	grpc_testing.UnimplementedTestServiceServer
}

func (failingEcho) EmptyCall(context.Context, *grpc_testing.Empty) (*grpc_testing.Empty, error) {
	return nil, status.Error(codes.NotFound, "no such account")
}

func TestErrorSaysWhoAndWhere(t *testing.T) {
	t.Parallel()
	e := embedded(t)
	server := member(t, Config{Service: "pay", Embedded: e, Propagation: -1})
	srv := server.NewGRPCServer()
	grpc_testing.RegisterTestServiceServer(srv, failingEcho{})
	addr, _ := serve(t, server, srv)
	caller := member(t, Config{Service: "caller", Embedded: e})
	_, err := dial(t, caller, "pay").EmptyCall(bound(t), &grpc_testing.Empty{}, grpc.WaitForReady(true))
	var me *Error
	if !errors.As(err, &me) || me.Op != "call" || me.Service != "pay" || me.Endpoint != addr || me.Attempts != 1 {
		t.Fatalf("error %#v", err)
	}
	s, ok := status.FromError(err)
	if !ok || s.Code() != codes.NotFound || status.Code(me.Unwrap()) != codes.NotFound {
		t.Errorf("status %v of %v", s, err)
	}
	if want := "mesh: call pay at " + addr + ": rpc error: code = NotFound desc = no such account"; err.Error() != want || s.Message() != want {
		t.Errorf("text %q and %q, want %q", err, s.Message(), want)
	}
}

func TestErrorOfAServiceThatNobodyHas(t *testing.T) {
	t.Parallel()
	m := member(t, Config{Service: "caller"})
	_, err := dial(t, m, "nobody").EmptyCall(bound(t), &grpc_testing.Empty{})
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), `"nobody"`) {
		t.Errorf("gRPC: %v", err)
	}
	_, err = get(bound(t), m, "http://nobody/")
	var me *Error
	if !errors.As(err, &me) || !errors.Is(err, balancer.ErrNoEndpoint) || me.Service != "nobody" || me.Op != "http" {
		t.Errorf("HTTP: %v", err)
	}
	if got := status.Code(me); got != codes.Unavailable {
		t.Errorf("an HTTP error that is passed on by a gRPC handler has code %v", got)
	}
	if _, err := m.Dial("no/body"); err == nil {
		t.Error("a name that no service can have was dialled")
	}
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	cause := errors.New("cause")
	for _, tt := range []struct {
		err  Error
		want string
	}{
		{Error{Op: "join", Err: cause}, "mesh: join: cause"},
		{Error{Op: "call", Service: "pay", Err: cause}, "mesh: call pay: cause"},
		{Error{Op: "call", Service: "pay", Endpoint: "h:1", Attempts: 3, Err: cause}, "mesh: call pay at h:1 (attempt 3): cause"},
	} {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
	for cause, want := range map[error]codes.Code{
		context.Canceled:         codes.Canceled,
		context.DeadlineExceeded: codes.DeadlineExceeded,
		balancer.ErrNoEndpoint:   codes.Unavailable,
		errors.New("other"):      codes.Unknown,
	} {
		if got := status.Code(&Error{Op: "http", Err: cause}); got != want {
			t.Errorf("code of %v is %v, want %v", cause, got, want)
		}
	}
}

func TestStream(t *testing.T) {
	t.Parallel()
	_, m := pair(t, Config{}, Config{}, &echo{})
	ctx, cancel := context.WithCancel(bound(t))
	s, err := dial(t, m, "pay").FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := s.Send(&grpc_testing.StreamingOutputCallRequest{}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); err != io.EOF { // callers compare with ==
		t.Errorf("the end of a stream is %v", err)
	}
	s, err = dial(t, m, "pay").FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	_, err = s.Recv()
	var me *Error
	if !errors.As(err, &me) || me.Op != "stream" || status.Code(err) != codes.Canceled {
		t.Errorf("a cancelled stream ends with %v", err)
	}
}

func TestHeadersAreBounded(t *testing.T) {
	t.Parallel()
	_, m := pair(t, Config{}, Config{}, &echo{})
	client := dial(t, m, "pay")
	big := metadata.AppendToOutgoingContext(bound(t), "x-big", strings.Repeat("x", maxHeaderList))
	if _, err := client.EmptyCall(big, &grpc_testing.Empty{}); err == nil {
		t.Error("headers over the limit were accepted")
	}
	fits := metadata.AppendToOutgoingContext(bound(t), "x-big", strings.Repeat("x", maxHeaderList/2))
	if _, err := client.EmptyCall(fits, &grpc_testing.Empty{}); err != nil {
		t.Errorf("headers within the limit: %v", err)
	}
}

// logged is a handler that keeps what was logged.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// A caller that Authorize refuses reaches no handler, and the server says who it was.
func TestAuthorize(t *testing.T) {
	t.Parallel()
	var log logged
	only := security.AuthorizeIDs(spiffeid.RequireFromString("spiffe://weft.dev.internal/ns/default/dc/local/svc/order"))
	h := &echo{entered: make(chan struct{}, 1)}
	_, m := pair(t, Config{Authorize: only, Logger: slog.New(slog.NewTextHandler(&log, nil))}, Config{}, h)
	_, err := dial(t, m, "pay").EmptyCall(bound(t), &grpc_testing.Empty{})
	if status.Code(err) != codes.Unavailable {
		t.Errorf("the refused call: %v", err)
	}
	if len(h.entered) > 0 {
		t.Error("the handler was reached")
	}
	if !strings.Contains(log.String(), "msg=peer.rejected") || !strings.Contains(log.String(), callerID) {
		t.Errorf("the log does not name the caller: %s", log.String())
	}
}

func TestEventsAreRateLimited(t *testing.T) {
	t.Parallel()
	var l limiter
	now := time.Unix(100, 0)
	logged := 0
	for range 1000 {
		if _, ok := l.allow(now); ok {
			logged++
		}
	}
	if n, ok := l.allow(now.Add(eventEvery)); logged != 1 || !ok || n != 999 {
		t.Errorf("%d logged at once; then %v with %d suppressed", logged, ok, n)
	}
}

func TestAfterLeave(t *testing.T) {
	t.Parallel()
	_, m := pair(t, Config{}, Config{}, &echo{})
	client := dial(t, m, "pay")
	if _, err := client.EmptyCall(bound(t), &grpc_testing.Empty{}); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel() // as in defer m.Leave(ctx), after Serve
	if err := m.Leave(ended); err != nil {
		t.Errorf("Leave: %v", err)
	}
	if err := m.Leave(t.Context()); err != nil {
		t.Errorf("a second Leave: %v", err)
	}
	if _, err := client.EmptyCall(bound(t), &grpc_testing.Empty{}); err == nil {
		t.Error("a connection works after Leave")
	}
	if _, err := m.Dial("pay"); !errors.Is(err, ErrLeft) {
		t.Errorf("Dial after Leave: %v", err)
	}
	if _, err := get(bound(t), m, "http://pay/"); !errors.Is(err, balancer.ErrClosed) {
		t.Errorf("HTTP after Leave: %v", err)
	}
}

// Closed connections must not pile up in the mesh.
func TestConnectionsAreForgotten(t *testing.T) {
	t.Parallel()
	m := member(t, Config{Service: "caller"})
	for range 100 {
		conn, err := m.Dial("pay")
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(m.grpc.conns); n > 1 {
		t.Errorf("%d connections are remembered", n)
	}
}

func TestHashKeyReachesThePolicy(t *testing.T) {
	t.Parallel()
	e := embedded(t)
	for _, cloud := range []string{"a", "b", "c"} {
		reg := watched{e.Catalog, make(chan struct{}), func() {}}
		m := member(t, Config{Service: "pay", InstanceID: "pay-" + cloud, Embedded: e, Registrar: reg, Propagation: -1})
		serve(t, m, httpServerOf(t, m, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(cloud)) }))
		<-reg.registered
	}
	caller := member(t, Config{Service: "caller", Embedded: e, Balancer: balancer.Config{Policy: balancer.Maglev{}}})
	seen := map[string]bool{}
	for _, user := range []string{"ann", "bob", "cid", "dan", "eve", "fay", "gus", "hal"} {
		ctx := WithHashKey(bound(t), user)
		first, err := get(ctx, caller, "http://pay/")
		if err != nil {
			t.Fatal(err)
		}
		seen[first] = true
		for range 5 {
			if again, err := get(ctx, caller, "http://pay/"); err != nil || again != first {
				t.Errorf("user %s went to %s, then to %s (%v)", user, first, again, err)
			}
		}
	}
	if len(seen) < 2 {
		t.Error("all users went to one instance")
	}
}

func TestProtocolsKeepApart(t *testing.T) {
	t.Parallel()
	for protocol, want := range map[string][2]bool{
		"": {true, true}, "grpc": {true, false}, "http": {false, true}, "http2": {true, true}, "tcp": {true, true}, "kafka": {false, false},
	} {
		ep := &resolver.Endpoint{Protocol: protocol}
		if got := [2]bool{servesGRPC(ep), servesHTTP(ep)}; got != want {
			t.Errorf("%q serves gRPC, HTTP: %v, want %v", protocol, got, want)
		}
	}
}
