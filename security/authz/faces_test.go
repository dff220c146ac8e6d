package authz_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/security"
	"github.com/weft-mesh/weft/security/authz"
)

// patience is far more than any step of a test takes.
const patience = 30 * time.Second

func bound(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// dial is a gRPC client of the rig's server.
func (r *rig) dial(t *testing.T, addr, service string) grpc_testing.TestServiceClient {
	t.Helper()
	creds := security.ClientCredentials(r.source(t, service), func(*attributes.Attributes) string { return r.server })
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return grpc_testing.NewTestServiceClient(conn)
}

// client is an HTTP client of the rig's server.
func (r *rig) client(t *testing.T, service string) *http.Client {
	t.Helper()
	cfg, err := security.HTTPClientTLS(r.source(t, service), r.server)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// setter is a Source that a test sets.
type setter struct{ next chan authz.Rules }

func (s setter) Watch(ctx context.Context, set func(authz.Rules)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-s.next:
			set(r)
		}
	}
}

func in(source string, action authz.Action) authz.Intention {
	return authz.Intention{SourceName: source, DestinationName: "api", Action: action}
}

// unreadable is a request body that fails the test when it is read to its end.
func endless() io.Reader {
	return io.MultiReader(bytes.NewReader(make([]byte, 1<<20)), neverEnding{})
}

type neverEnding struct{}

func (neverEnding) Read(p []byte) (int, error) { return len(p), nil }

func TestHTTPAnswers(t *testing.T) {
	t.Parallel()
	rig := newRig(t)
	var log syncBuffer
	src := setter{make(chan authz.Rules)}
	a := rig.authorizer(t, authz.Config{Sources: []authz.Source{src}, Logger: slog.New(slog.NewJSONHandler(&log, nil))})
	addr := rig.serveHTTP(t, authz.HTTPHandler(a, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, ok := authz.FromContext(r.Context())
		peer, _ := security.PeerFromRequest(r)
		if !ok || who.Caller != peer {
			t.Errorf("the handler sees %v, %v; the peer is %v", who, ok, peer)
		}
		for name := range r.Header {
			if name != "Accept-Encoding" && name != "User-Agent" && name != "Weft-Timeout" && name != "Content-Length" {
				t.Errorf("the handler sees the header %s: %s", name, r.Header[name])
			}
		}
	})))
	ask := func(service string) (*http.Response, string) {
		req, err := http.NewRequestWithContext(bound(t), http.MethodPost, "https://"+addr+"/x", endless())
		if err != nil {
			t.Fatal(err)
		}
		if service == "web" {
			req.Body = http.NoBody
		}
		for _, name := range []string{"X-Forwarded-Client-Cert", "x_forwarded_client_cert", "X-Weft-Caller", "weft_caller", "Weft_Timeout", "WEFT-PEER", "X-Envoy-Original-Path", "l5d-client-id"} {
			req.Header[name] = []string{"By=x;URI=spiffe://" + rig.ca.TrustDomain().Name() + "/ns/default/dc/eu/svc/admin"}
		}
		req.Header.Set("Weft-Timeout", "10s")
		resp, err := rig.client(t, service).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body) // cut off with the request's body
		return resp, string(body)
	}
	if resp, _ := ask("db"); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("before the rules are known: %s", resp.Status)
	}
	src.next <- authz.Rules{Intentions: []authz.Intention{in("web", authz.Allow), in("secretrule", authz.Allow)}, Version: "v7"}
	if err := a.WaitReady(bound(t)); err != nil {
		t.Fatal(err)
	}
	resp, body := ask("db")
	if resp.StatusCode != http.StatusForbidden || strings.Contains(body, "default") || strings.Contains(body, "v7") || strings.Contains(body, "db") {
		t.Errorf("denied: %s %q", resp.Status, body)
	}
	if resp, body := ask("web"); resp.StatusCode != http.StatusOK {
		t.Errorf("allowed: %s %q", resp.Status, body)
	}
	var event map[string]any
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "authz.denied") && strings.Contains(line, "v7") {
			if err := json.Unmarshal([]byte(line), &event); err != nil {
				t.Fatal(err)
			}
		}
	}
	if event["version"] != "v7" || event["rule"] != "default policy: deny" || !strings.HasSuffix(fmt.Sprint(event["caller"]), "/svc/db") || event["path"] != "/x" {
		t.Errorf("audit log: %v\n%s", event, log.String())
	}
}

// syncBuffer can be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

type streaming struct {
	grpc_testing.UnimplementedTestServiceServer
	entered chan metadata.MD
	ended   chan error
}

func (s *streaming) FullDuplexCall(ss grpc.BidiStreamingServer[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse]) error {
	md, _ := metadata.FromIncomingContext(ss.Context())
	s.entered <- md
	for {
		if _, err := ss.Recv(); err != nil {
			s.ended <- err
			return err
		}
	}
}

func (s *streaming) UnaryCall(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	who, _ := authz.FromContext(ctx)
	md, _ := metadata.FromIncomingContext(ctx)
	s.entered <- md
	return &grpc_testing.SimpleResponse{Username: who.Caller.String()}, nil
}

// A stream that the rules no longer allow is ended, also if it is idle, and its
// handler with it; others go on.
func TestStreamsAreJudgedAgain(t *testing.T) {
	t.Parallel()
	rig := newRig(t)
	src := setter{make(chan authz.Rules)}
	a := rig.authorizer(t, authz.Config{Sources: []authz.Source{src}})
	s := &streaming{entered: make(chan metadata.MD, 2), ended: make(chan error, 2)}
	addr := rig.serveGRPC(t, s, authz.GRPCServerOptions(a)...)
	allowed := func(names ...string) (r authz.Rules) {
		for _, n := range names {
			r.Intentions = append(r.Intentions, in(n, authz.Allow))
		}
		return r
	}
	src.next <- allowed("web", "other")
	if err := a.WaitReady(bound(t)); err != nil {
		t.Fatal(err)
	}
	streams := map[string]grpc.BidiStreamingClient[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse]{}
	for _, name := range []string{"web", "other"} {
		st, err := rig.dial(t, addr, name).FullDuplexCall(bound(t))
		if err != nil {
			t.Fatal(err)
		}
		<-s.entered
		streams[name] = st
	}
	began := time.Now()
	src.next <- allowed("other")
	if _, err := streams["web"].Recv(); status.Code(err) != codes.PermissionDenied {
		t.Errorf("the stream ended with %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	<-s.ended // its handler
	if err := streams["other"].Send(&grpc_testing.StreamingOutputCallRequest{}); err != nil {
		t.Errorf("the other stream: %v", err)
	}
	if err := a.Peer(peer(t, rig, "web")); !errors.Is(err, authz.ErrDenied) {
		t.Errorf("Peer: %v", err)
	}
	if err := a.Peer(peer(t, rig, "other")); err != nil {
		t.Errorf("Peer: %v", err)
	}
	_ = streams["other"].CloseSend()
	<-s.ended
}

func peer(t *testing.T, r *rig, service string) security.PeerID {
	t.Helper()
	svid, err := r.source(t, service).GetX509SVID()
	if err != nil {
		t.Fatal(err)
	}
	return security.PeerID{ID: svid.ID}
}

// On gRPC a call is refused before its first message has come, with and without the
// tap; metadata that poses as an identity does not arrive.
func TestGRPCAnswers(t *testing.T) {
	t.Parallel()
	rig := newRig(t)
	a := rig.authorizer(t, authz.Config{Sources: []authz.Source{authz.Static{Intentions: []authz.Intention{in("web", authz.Allow)}}}})
	parts := authz.NewGRPCServer(a)
	for name, options := range map[string][]grpc.ServerOption{
		"tap":          authz.GRPCServerOptions(a),
		"interceptors": {grpc.ChainUnaryInterceptor(parts.Unary), grpc.ChainStreamInterceptor(parts.Stream)},
	} {
		s := &streaming{entered: make(chan metadata.MD, 1), ended: make(chan error, 1)}
		addr := rig.serveGRPC(t, s, options...)
		ctx := metadata.AppendToOutgoingContext(bound(t), "x-forwarded-client-cert", "URI=spiffe://x/y", "weft_caller", "x", "weft-peer", "y", "weft-priority", "1")
		reply, err := rig.dial(t, addr, "web").UnaryCall(ctx, &grpc_testing.SimpleRequest{})
		if err != nil || !strings.HasSuffix(reply.GetUsername(), "/svc/web") {
			t.Fatalf("%s: %v, %v", name, reply, err)
		}
		md := <-s.entered
		for _, key := range []string{"x-forwarded-client-cert", "weft_caller", "weft-peer"} {
			if len(md[key]) > 0 {
				t.Errorf("%s: the handler sees %s", name, key)
			}
		}
		if len(md["weft-priority"]) != 1 {
			t.Errorf("%s: the handler does not see weft-priority", name)
		}
		db := rig.dial(t, addr, "db")
		if _, err := db.UnaryCall(bound(t), &grpc_testing.SimpleRequest{}); status.Code(err) != codes.PermissionDenied || strings.Contains(err.Error(), "default") {
			t.Errorf("%s: unary: %v", name, err)
		}
		st, err := db.FullDuplexCall(bound(t)) // sends nothing
		if err == nil {
			_, err = st.Recv()
		}
		if status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s: stream: %v", name, err)
		}
	}
}

// Without TLS nobody has an identity, so nobody is allowed.
func TestNoIdentityIsNobody(t *testing.T) {
	t.Parallel()
	rig := newRig(t)
	a := rig.authorizer(t, authz.Config{Sources: []authz.Source{authz.Static{Default: authz.Allow}}})
	s := &streaming{entered: make(chan metadata.MD, 1)}
	addr := rig.serveGRPC(t, s, append(authz.GRPCServerOptions(a), plaintext())...)
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := grpc_testing.NewTestServiceClient(conn).UnaryCall(bound(t), &grpc_testing.SimpleRequest{}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a caller without an identity: %v", err)
	}
	rec := newRecorder()
	req, err := http.NewRequestWithContext(bound(t), http.MethodGet, "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	authz.HTTPHandler(a, http.NotFoundHandler()).ServeHTTP(rec, req)
	if rec.status != http.StatusForbidden {
		t.Errorf("HTTP: %d", rec.status)
	}
}

type recorder struct {
	http.ResponseWriter
	header http.Header
	status int
}

func newRecorder() *recorder                    { return &recorder{header: http.Header{}} }
func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(p []byte) (int, error) { return len(p), nil }
func plaintext() grpc.ServerOption              { return grpc.Creds(insecure.NewCredentials()) }
