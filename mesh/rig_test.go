package mesh

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/security"
)

// member joins a mesh and leaves it when the test ends.
func member(t testing.TB, cfg Config) *Mesh {
	t.Helper()
	m, err := Join(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Leave(context.Background()); err != nil {
			t.Errorf("Leave: %v", err)
		}
	})
	return m
}

func embedded(t testing.TB) *Embedded {
	t.Helper()
	e, err := NewEmbedded(nil)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// serve runs srv on loopback and returns its address, and how to end it and get
// Serve's error.
func serve(t testing.TB, m *Mesh, srv any) (addr string, stop func() error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Serve(ctx, srv, l) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { _ = stop() })
	return l.Addr().String(), stop
}

// echo answers with the caller's identity, and, if hold is set, waits for it first.
type echo struct {
	grpc_testing.UnimplementedTestServiceServer
	entered chan struct{}
	hold    chan struct{}
}

func (e *echo) wait() {
	if e.hold != nil {
		e.entered <- struct{}{}
		<-e.hold
	}
}

// inFlight waits until a call is being handled; result is where it would end.
func (e *echo) inFlight(t testing.TB, result <-chan error) {
	t.Helper()
	select {
	case <-e.entered:
	case err := <-result:
		t.Fatalf("the call ended before it was handled: %v", err)
	}
}

func (e *echo) EmptyCall(context.Context, *grpc_testing.Empty) (*grpc_testing.Empty, error) {
	e.wait()
	return &grpc_testing.Empty{}, nil
}

func (e *echo) UnaryCall(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	peer, _ := security.PeerFromContext(ctx)
	return &grpc_testing.SimpleResponse{Username: peer.String()}, nil
}

func (e *echo) FullDuplexCall(s grpc.BidiStreamingServer[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse]) error {
	for {
		if _, err := s.Recv(); err != nil {
			return nil
		}
		if err := s.Send(&grpc_testing.StreamingOutputCallResponse{}); err != nil {
			return err
		}
	}
}

func grpcServer(m *Mesh, e *echo) *grpc.Server {
	srv := m.NewGRPCServer()
	grpc_testing.RegisterTestServiceServer(srv, e)
	return srv
}

func httpServerOf(t testing.TB, m *Mesh, h http.HandlerFunc) *http.Server {
	t.Helper()
	srv, err := m.NewHTTPServer(h)
	if err != nil {
		t.Fatal(err)
	}
	return srv
}

func dial(t testing.TB, m *Mesh, service string) grpc_testing.TestServiceClient {
	t.Helper()
	conn, err := m.Dial(service)
	if err != nil {
		t.Fatal(err)
	}
	return grpc_testing.NewTestServiceClient(conn)
}

// get fetches a URL of the mesh and returns its body.
func get(ctx context.Context, m *Mesh, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := m.HTTPClient().Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

// bound is far more than any step of a test takes.
func bound(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// twoClouds is a service in the caller's cloud and in another one. call makes one
// call by protocol: "unary", "stream" or "http".
func twoClouds(t *testing.T, protocol string, policy ServicePolicy) (call func() error, here, there *atomic.Int64) {
	t.Helper()
	e := embedded(t)
	n := map[string]*flaky{"here": {}, "there": {}}
	for cloud, f := range n {
		reg := watched{e.Catalog, make(chan struct{}), func() {}}
		server := member(t, Config{Service: "pay", InstanceID: cloud, Locality: resolver.Locality{Cloud: cloud}, Embedded: e, Registrar: reg, Propagation: -1})
		f.serve(t, server, protocol)
		<-reg.registered
	}
	caller := member(t, Config{Service: "caller", Embedded: e, Locality: resolver.Locality{Cloud: "here"}, Policy: policy})
	if protocol == "http" {
		call = func() error { _, err := get(bound(t), caller, "http://pay/"); return err }
		return call, &n["here"].calls, &n["there"].calls
	}
	client := dial(t, caller, "pay")
	if call = func() error {
		_, err := client.UnaryCall(bound(t), &grpc_testing.SimpleRequest{}, grpc.WaitForReady(true))
		return err
	}; protocol == "stream" {
		call = func() error {
			s, err := client.FullDuplexCall(bound(t), grpc.WaitForReady(true))
			if err != nil {
				return err
			}
			if _, err = s.Recv(); errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
	return call, &n["here"].calls, &n["there"].calls
}

// replaceFile replaces a file at once, as an editor or a config map does.
func replaceFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}
