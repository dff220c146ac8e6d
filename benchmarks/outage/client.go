package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"
	grpcresolver "google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/stats"

	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/security"
)

// What the caller of each kind sets, and what it is told by the output.
const (
	attemptTimeout = 250 * time.Millisecond
	weftSetting    = "ServicePolicy{Idempotent: the service, Retry: {AttemptTimeout: 250ms}}, all else default"
	bareSetting    = `round_robin, retryPolicy{maxAttempts 3, initialBackoff 25ms, UNAVAILABLE}, keepalive 10s/3s`
	bareConfig     = `{"loadBalancingConfig":[{"round_robin":{}}],"methodConfig":[{"name":[{}],"retryPolicy":{
		"maxAttempts":3,"initialBackoff":"0.025s","maxBackoff":"1s","backoffMultiplier":2,"retryableStatusCodes":["UNAVAILABLE"]}}]}`
)

// dialer connects to the fleet; close ends what it began.
type dialer func(ctx context.Context, f *fleet, h stats.Handler) (conn *grpc.ClientConn, closed func(), err error)

// weft is a member at home in a cloud; "": in none of them, so that all clouds
// share its calls. try is the time for an attempt.
func weft(home string, try time.Duration) dialer {
	return func(ctx context.Context, f *fleet, h stats.Handler) (*grpc.ClientConn, func(), error) {
		m, err := mesh.Join(ctx, mesh.Config{
			Service:  "caller",
			Locality: resolver.Locality{Cloud: home},
			Embedded: f.embedded,
			Policy: mesh.ServicePolicy{
				Idempotent: []string{"/grpc.testing.TestService/"},
				Retry:      resilience.Retry{AttemptTimeout: try},
			},
		})
		if err != nil {
			return nil, nil, err
		}
		conn, err := m.Dial(service, grpc.WithStatsHandler(h))
		return conn, func() { _ = m.Leave(context.Background()) }, err
	}
}

// bare is grpc-go alone over the same endpoints, with mutual TLS and the same
// keepalive and connection parameters.
func bare(_ context.Context, f *fleet, h stats.Handler) (*grpc.ClientConn, func(), error) {
	src, err := f.embedded.CA.Source("caller")
	if err != nil {
		return nil, nil, err
	}
	r := manual.NewBuilderWithScheme("bare")
	var st grpcresolver.State
	for _, addr := range f.addrs {
		id, err := f.embedded.CA.ID(f.cloudOf[addr], service)
		if err != nil {
			return nil, nil, err
		}
		a := grpcresolver.Address{Addr: addr, Attributes: resolver.WithExpectedSPIFFEID(nil, id)}
		st.Endpoints = append(st.Endpoints, grpcresolver.Endpoint{Addresses: []grpcresolver.Address{a}})
	}
	r.InitialState(st)
	conn, err := grpc.NewClient("bare:///"+service, grpc.WithResolvers(r), grpc.WithStatsHandler(h),
		grpc.WithTransportCredentials(security.ClientCredentials(src, resolver.ExpectedSPIFFEID)),
		grpc.WithDefaultServiceConfig(bareConfig),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 3 * time.Second}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: 3 * time.Second}))
	if err != nil {
		return nil, nil, err
	}
	return conn, func() { conn.Close(); src.Close() }, nil
}

// watcher marks the calls that sent an attempt to one of addrs.
type watcher struct{ addrs map[string]bool }

func watch(f *fleet, cloud string) *watcher {
	w := &watcher{addrs: map[string]bool{}}
	for addr, c := range f.cloudOf {
		w.addrs[addr] = c == cloud
	}
	return w
}

type callKey struct{}

func (*watcher) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (w *watcher) HandleRPC(ctx context.Context, s stats.RPCStats) {
	out, ok := s.(*stats.OutHeader)
	if !ok {
		return
	}
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		c.attempts.Add(1)
		if w.addrs[out.RemoteAddr.String()] {
			c.lost.Store(true)
		}
	}
}

func (*watcher) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (*watcher) HandleConn(context.Context, stats.ConnStats)                       {}

// settings says what is compared.
func settings() string {
	return fmt.Sprintf("weft:      %s\ngrpc-go:   %s\n", weftSetting, strings.TrimSpace(bareSetting))
}
