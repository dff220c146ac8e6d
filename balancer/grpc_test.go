package balancer

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	grpcresolver "google.golang.org/grpc/resolver"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/resolver"
)

func TestGRPCSpreadsOverEndpoints(t *testing.T) {
	t.Parallel()
	a, b := startBackend(t, "", nil, nil), startBackend(t, "", nil, nil)
	cc := dial(t, newResolver(endpoints(a.addr, b.addr)))
	for seen := map[string]bool{}; len(seen) < 2; {
		who, err := call(t.Context(), cc, "")
		if err != nil {
			t.Fatal(err)
		}
		seen[who] = true
	}
}

// The picker gets the call that an interceptor put into the context.
func TestGRPCPickSeesCall(t *testing.T) {
	t.Parallel()
	var mine, picked atomic.Pointer[Call]
	spy := &spyPolicy{call: func(c *Call) { picked.Store(c) }}
	s := endpoints(startBackend(t, "", nil, nil).addr)
	Attach(&s, &Config{Policy: spy, SubsetSize: -1})
	cc := dial(t, newResolver(s), grpc.WithChainUnaryInterceptor(
		func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, inv grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			ctx, c := NewCall(ctx, "payments", method)
			mine.Store(c)
			return inv(ctx, method, req, reply, cc, opts...)
		}))
	if _, err := call(t.Context(), cc, "", grpc.WaitForReady(true)); err != nil {
		t.Fatal(err)
	}
	if picked.Load() != mine.Load() || mine.Load().Last() == nil || mine.Load().Attempts() != 1 {
		t.Errorf("picked with %p, the interceptor made %p, which has %d attempts", picked.Load(), mine.Load(), mine.Load().Attempts())
	}
	if n := spy.nodes()[0].Load().InFlight(); n != 0 {
		t.Errorf("%d in flight after the call", n)
	}
}

// grpc's own retries pick again with the same call, and so avoid who failed.
func TestGRPCRetryAvoidsTried(t *testing.T) {
	t.Parallel()
	sick := func(context.Context, string) (string, error) { return "", status.Error(codes.Unavailable, "sick") }
	good := startBackend(t, "", nil, nil)
	a, b := startBackend(t, "", sick, nil), startBackend(t, "", sick, nil)
	spy := &spyPolicy{}
	st := endpoints(a.addr, b.addr, good.addr)
	Attach(&st, &Config{Policy: spy, SubsetSize: -1})
	cc := dial(t, newResolver(st), grpc.WithDefaultServiceConfig(
		`{"loadBalancingConfig":[{"weft":{}}],"methodConfig":[{"name":[{}],"retryPolicy":{
			"maxAttempts":3,"initialBackoff":"0.001s","maxBackoff":"0.001s","backoffMultiplier":1,"retryableStatusCodes":["UNAVAILABLE"]}}]}`))
	spy.connected(t, cc, 3)
	for range 30 {
		ctx, c := NewCall(t.Context(), "payments", "/rig.Rig/Do")
		if who, err := call(ctx, cc, ""); err != nil || who != good.addr {
			t.Fatalf("after %d attempts: %q, %v", c.Attempts(), who, err)
		}
	}
}

// A call that nobody can serve yet waits, and is woken by the same picker.
func TestGRPCWakesQueuedCalls(t *testing.T) {
	t.Parallel()
	queued := make(chan struct{}, 100)
	spy := &spyPolicy{call: func(*Call) {
		select {
		case queued <- struct{}{}:
		default:
		}
	}}
	accept := make(chan struct{})
	s := endpoints(startBackend(t, "", nil, nil).addr)
	Attach(&s, &Config{Policy: spy, SubsetSize: -1})
	cc := dial(t, newResolver(s), grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
		<-accept
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}))
	done := make(chan error)
	go func() {
		_, err := call(t.Context(), cc, "") // not waiting for ready: connecting is no failure
		done <- err
	}()
	<-queued // one pick found nothing
	close(accept)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

var quickConnect = grpc.WithConnectParams(grpc.ConnectParams{
	Backoff: backoff.Config{BaseDelay: 10 * time.Millisecond, Multiplier: 1, MaxDelay: 10 * time.Millisecond}, MinConnectTimeout: time.Second,
})

// With every endpoint down a call fails with the reason, unless it waits for ready.
func TestGRPCAllDown(t *testing.T) {
	t.Parallel()
	addr, listen := heldAddr(t)
	cc := dial(t, newResolver(endpoints(addr)), quickConnect)
	_, err := call(t.Context(), cc, "")
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "refused") {
		t.Errorf("error is %v, want Unavailable with the connection's error", err)
	}
	done := make(chan error)
	go func() {
		_, err := call(t.Context(), cc, "", grpc.WaitForReady(true))
		done <- err
	}()
	startBackendOn(t, listen(), nil, nil)
	if err := <-done; err != nil {
		t.Errorf("the waiting call: %v", err)
	}
}

// spyCreds shows the attributes that a handshake sees.
type spyCreds struct {
	credentials.TransportCredentials
	saw chan string
}

func (s spyCreds) ClientHandshake(ctx context.Context, name string, c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	s.saw <- resolver.ExpectedSPIFFEID(credentials.ClientHandshakeInfoFromContext(ctx).Attributes)
	return s.TransportCredentials.ClientHandshake(ctx, name, c)
}

func (s spyCreds) Clone() credentials.TransportCredentials {
	return spyCreds{s.TransportCredentials.Clone(), s.saw}
}

func TestGRPCExpectedIdentityReachesCredentials(t *testing.T) {
	t.Parallel()
	const id = "spiffe://td/ns/default/dc/aws/svc/payments"
	b := startBackend(t, "", nil, nil)
	ep := &resolver.Endpoint{ID: resolver.ID{Instance: "1"}, Addr: b.addr, Weight: 1}
	s := grpcresolver.State{Endpoints: []grpcresolver.Endpoint{resolver.GRPCEndpoint(ep, id)}}
	creds := spyCreds{insecure.NewCredentials(), make(chan string, 10)}
	cc := dial(t, newResolver(s), grpc.WithTransportCredentials(creds))
	if _, err := call(t.Context(), cc, ""); err != nil {
		t.Fatal(err)
	}
	if got := <-creds.saw; got != id {
		t.Errorf("the handshake expects %q, want %q", got, id)
	}
}

// A state without a service config keeps the policy, its config and connections.
func TestGRPCNilServiceConfigKeepsOld(t *testing.T) {
	t.Parallel()
	var dials atomic.Int32
	b := startBackend(t, "", nil, nil)
	r := newResolver(endpoints(b.addr))
	cc := dial(t, r, grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
		dials.Add(1)
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}))
	if _, err := call(t.Context(), cc, ""); err != nil {
		t.Fatal(err)
	}
	s := endpoints(b.addr)
	s.ServiceConfig = r.CC().ParseServiceConfig(weftConfig)
	for range 3 {
		r.UpdateState(s)
		s.ServiceConfig = nil
		if _, err := call(t.Context(), cc, ""); err != nil {
			t.Fatal(err)
		}
	}
	if n := dials.Load(); n != 1 {
		t.Errorf("%d connections were made, want 1", n)
	}
}

// Endpoints come and go under load: no call may fail.
func TestGRPCChurn(t *testing.T) {
	t.Parallel()
	var addrs []string
	for range 6 {
		addrs = append(addrs, startBackend(t, "", nil, nil).addr)
	}
	r := newResolver(endpoints(addrs[0], addrs[1]))
	cc := dial(t, r)
	stop, tick := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				if _, err := call(t.Context(), cc, ""); err != nil {
					t.Errorf("a call failed: %v", err)
				}
				select {
				case tick <- struct{}{}:
				case <-stop:
					return
				}
			}
		})
	}
	for i := range 80 {
		r.UpdateState(endpoints(addrs[i%6], addrs[(i+1)%6], addrs[(i*i)%6]))
		for range 16 {
			<-tick
		}
	}
	close(stop)
	wg.Wait()
}
