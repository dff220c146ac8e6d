package mesh

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	grpcresolver "google.golang.org/grpc/resolver"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/security"
)

// serviceConfig selects the weft policy; what it does comes with each resolver state.
const serviceConfig = `{"loadBalancingConfig":[{"` + balancer.Name + `":{}}]}`

// Dial returns a connection to a service: discovered, balanced, and verified as
// Config says. It does no I/O; the first call, or ClientConn.Connect, does.
// Options are applied after the mesh's own; interceptors given here run before
// the mesh's. gRPC's own retries are off: Config.Policy has them. A dialer among them
// is called within Config.ConnectTimeout and a service-resolver's; with
// grpc.WithConnectParams, that and the Config's no longer count. The connection is the
// caller's to close; Leave closes it too.
func (m *Mesh) Dial(service string, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	if err := resolver.CheckService(service); err != nil {
		return nil, &Error{Op: "dial", Service: service, Err: err}
	}
	to := m.to.of(service)
	if err := to.way.rpc.err; err != nil {
		return nil, &Error{Op: "dial", Service: service, Err: err}
	}
	builder := resolver.NewBuilder(m.to.routed(resolver.Filter(m.catalog, m.noticing(servesGRPC))), resolver.BuilderConfig{
		ExpectedID: m.peerID,
		Decorate:   to.attach,
	})
	all := []grpc.DialOption{
		grpc.WithResolvers(builder),
		grpc.WithTransportCredentials(security.ClientCredentials(m.identity, resolver.ExpectedSPIFFEID)),
		grpc.WithDefaultServiceConfig(serviceConfig),
		// Mesh traffic never goes through HTTPS_PROXY.
		grpc.WithNoProxy(),
		// Idleness would close warm connections, and the first call after it would pay for them.
		grpc.WithIdleTimeout(0),
		// The shortest that grpc allows: a black hole is found in 13 s, not in 15 min.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 3 * time.Second}),
		grpc.WithMaxHeaderListSize(maxHeaderList),
		grpc.WithInitialWindowSize(streamWindow),
		grpc.WithInitialConnWindowSize(connWindow),
	}
	if dial := m.cfg.DialContext; dial != nil {
		all = append(all, grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			return dial(ctx, "tcp", addr)
		}))
	}
	all, err := balancer.DialOptions(balancer.DialConfig{
		ConnectTimeout: m.cfg.ConnectTimeout,
		Backoff:        backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 10 * time.Second},
	}, append(all, opts...)...)
	if err != nil {
		return nil, &Error{Op: "dial", Service: service, Err: err}
	}
	// Inside the user's interceptors; gRPC's own retries would multiply with ours.
	all = append(all, grpc.WithDisableRetry(),
		grpc.WithChainUnaryInterceptor(unaryClient(service, to)), grpc.WithChainStreamInterceptor(streamClient(service, to)))
	conn, err := grpc.NewClient(resolver.Scheme+":///"+service, all...)
	if err != nil {
		return nil, &Error{Op: "dial", Service: service, Err: err}
	}
	m.grpc.track(conn)
	if m.isLeft() { // Leave may have missed it
		m.grpc.close()
		return nil, &Error{Op: "dial", Service: service, Err: ErrLeft}
	}
	return conn, nil
}

// grpcFace is what the mesh keeps of gRPC.
type grpcFace struct {
	mu      sync.Mutex
	conns   []*grpc.ClientConn
	mirrors map[string]*grpc.ClientConn     // for copies, by service
	health  map[*grpc.Server]*health.Server // servers that were made and not served to their end
	idle    map[*grpc.Server]bool           // those that were not served at all
}

// track remembers a connection for Leave, and forgets those that are closed.
func (f *grpcFace) track(conn *grpc.ClientConn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conns = slices.DeleteFunc(f.conns, func(c *grpc.ClientConn) bool { return c.GetState() == connectivity.Shutdown })
	f.conns = append(f.conns, conn)
}

func (f *grpcFace) close() {
	f.mu.Lock()
	conns, idle := f.conns, f.idle
	f.conns, f.idle = nil, nil
	f.mu.Unlock()
	for _, c := range conns {
		_ = c.Close() // its user may have closed it already
	}
	for srv := range idle {
		srv.Stop() // ends its workers
	}
}

// servesGRPC keeps the endpoints that a gRPC connection can use. An endpoint
// that does not name its protocol is taken at its word of being the service.
func servesGRPC(e *resolver.Endpoint) bool {
	return e.Protocol == "" || e.Protocol == "grpc" || e.Protocol == "http2" || e.Protocol == "tcp"
}

// attach tells a channel how the service is balanced.
func (to *destination) attach(s *grpcresolver.State) {
	if to.router != nil {
		if t := to.router.table.Load(); t != nil {
			balancer.AttachLanes(s, t.lanes)
			return
		}
	}
	balancer.Attach(s, &to.balancer)
}

// unaryClient is all that a call passes, in the order of layers.go. One
// interceptor, because gRPC allocates for each further one.
func unaryClient(service string, to *destination) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		ctx, call := balancer.NewCall(ctx, service, method)
		w := to.seen.rpc(ctx, method)
		ctx, invoke, span := w.unary(ctx, call, invoke)
		ctx, method, d, err := to.rpc(ctx, call, method)
		if err == nil {
			d.mirrorRPC(ctx, method, req, reply)
			err = d.rpc.unary(ctx, method, req, reply, cc, invoke, opts...)
			d.edit(opts)
		}
		w.end(ctx, call, span, err)
		if err != nil {
			return callError("call", call, err)
		}
		return nil
	}
}

// streamClient is unaryClient for streams.
func streamClient(service string, to *destination) grpc.StreamClientInterceptor {
	return func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, stream grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		ctx, call := balancer.NewCall(ctx, service, method)
		call.Stream = true
		ctx, stream, opts, end := to.seen.stream(ctx, call, stream, opts)
		ctx, method, d, err := to.rpc(ctx, call, method)
		if err != nil {
			end(err)
			return nil, callError("stream", call, err)
		}
		d.mirrorNone()
		s, err := d.rpc.stream(ctx, desc, cc, method, stream, opts...)
		if err != nil {
			end(err)
			return nil, callError("stream", call, err)
		}
		return &clientStream{ClientStream: s, call: call, d: d}, nil
	}
}

// clientStream gives a stream's errors the same shape as a call's.
type clientStream struct {
	grpc.ClientStream
	call *balancer.Call
	d    decided
}

// Header is the reply's header with the chain's changes.
func (s *clientStream) Header() (metadata.MD, error) {
	md, err := s.ClientStream.Header()
	if err != nil {
		return nil, s.wrap(err)
	}
	return s.d.editMD(md.Copy()), nil
}

func (s *clientStream) RecvMsg(msg any) error { return s.wrap(s.ClientStream.RecvMsg(msg)) }

func (s *clientStream) SendMsg(msg any) error { return s.wrap(s.ClientStream.SendMsg(msg)) }

func (s *clientStream) wrap(err error) error {
	if err == nil || err == io.EOF { // io.EOF is a signal that callers compare with ==
		return err
	}
	return callError("stream", s.call, err)
}
