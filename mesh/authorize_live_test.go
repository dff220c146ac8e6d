package mesh

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/security/authz"
)

// changing is a source of rules that a test changes.
type changing struct {
	first authz.Rules
	next  chan authz.Rules
}

func (c *changing) Watch(ctx context.Context, set func(authz.Rules)) error {
	set(c.first)
	for {
		select {
		case r := <-c.next:
			set(r)
		case <-ctx.Done():
			return nil
		}
	}
}

// callersOf are rules for the service pay.
func callersOf(actions map[string]authz.Action) authz.Rules {
	r := authz.Rules{Default: authz.Deny}
	for name, a := range actions {
		r.Intentions = append(r.Intentions, authz.Intention{SourceName: name, DestinationName: "pay", Action: a})
	}
	return r
}

// The open connections of a caller whose right was taken away are closed within 5 s on
// gRPC and HTTP servers, those of another caller stay, and a new request of the
// first is answered with why.
func TestConnectionsEndWithTheRight(t *testing.T) {
	t.Parallel()
	rules := &changing{callersOf(map[string]authz.Action{"web": authz.Allow, "order": authz.Allow}), make(chan authz.Rules)}
	e := embedded(t)
	m := member(t, Config{Service: "pay", Embedded: e, Authorization: AuthorizationConfig{Sources: []authz.Source{rules}}})
	serve(t, m, grpcServer(m, &echo{}))
	hold := make(chan struct{})
	defer close(hold)
	serve(t, m, httpServerOf(t, m, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "begun")
		if r.URL.Path == "/slow" {
			_ = http.NewResponseController(w).Flush()
			select {
			case <-hold:
			case <-r.Context().Done():
			}
		}
	}))
	type caller struct {
		rpc    grpc_testing.TestServiceClient
		stream grpc_testing.TestService_FullDuplexCallClient
		body   io.ReadCloser
		m      *Mesh
	}
	callers := map[string]*caller{}
	for _, name := range []string{"web", "order"} {
		c := &caller{m: member(t, Config{Service: name, Embedded: e})}
		c.rpc = dial(t, c.m, "pay")
		if _, err := c.rpc.EmptyCall(bound(t), &grpc_testing.Empty{}, grpc.WaitForReady(true)); err != nil {
			t.Fatal(err)
		}
		var err error
		if c.stream, err = c.rpc.FullDuplexCall(bound(t)); err != nil {
			t.Fatal(err)
		}
		step(t, c.stream)
		req, err := http.NewRequestWithContext(bound(t), http.MethodGet, "http://pay/slow", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.m.HTTPClient().Do(req)
		for errors.Is(err, balancer.ErrNoEndpoint) && req.Context().Err() == nil {
			resp, err = c.m.HTTPClient().Do(req) // not announced yet
		}
		if err != nil {
			t.Fatal(err)
		}
		c.body = resp.Body
		t.Cleanup(func() { _ = resp.Body.Close() })
		if _, err := io.ReadFull(c.body, make([]byte, len("begun"))); err != nil {
			t.Fatal(err)
		}
		callers[name] = c
	}
	if n := m.identity.Open(); n != 4 {
		t.Fatalf("%d open connections, want 4", n)
	}
	began := time.Now()
	rules.next <- callersOf(map[string]authz.Action{"order": authz.Allow, "web": authz.Deny})
	var both sync.WaitGroup
	both.Go(func() {
		if _, err := callers["web"].stream.Recv(); status.Code(err) != codes.PermissionDenied {
			t.Errorf("the stream ended with %v, want PermissionDenied", err)
		}
	})
	both.Go(func() {
		if _, err := io.ReadAll(callers["web"].body); err == nil {
			t.Error("the response came to its end")
		}
	})
	both.Wait()
	for m.identity.Open() > 2 && time.Since(began) < 5*time.Second {
		<-time.After(10 * time.Millisecond)
	}
	if n := m.identity.Open(); n > 2 || time.Since(began) > 5*time.Second {
		t.Errorf("%d connections are open after %v, want order's 2", n, time.Since(began))
	}
	// order's stream goes on.
	step(t, callers["order"].stream)
	// The server has closed web's connection, of which web may not have heard yet: a call
	// on that one has no answer.
	call := func() error {
		_, err := callers["web"].rpc.EmptyCall(bound(t), &grpc_testing.Empty{}, grpc.WaitForReady(true))
		return err
	}
	err := call()
	for ctx := bound(t); status.Code(err) == codes.Unavailable && ctx.Err() == nil; {
		err = call()
	}
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("a new call of web: %v, want PermissionDenied", err)
	}
}

// step sends a message on a stream and waits for the answer.
func step(t *testing.T, s grpc_testing.TestService_FullDuplexCallClient) {
	t.Helper()
	err := s.Send(&grpc_testing.StreamingOutputCallRequest{})
	if err == nil {
		_, err = s.Recv()
	}
	if err != nil {
		t.Fatal(err)
	}
}
