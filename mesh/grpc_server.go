package mesh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/tap"

	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/security"
	"github.com/weft-mesh/weft/security/authz"
)

// NewGRPCServer returns a server with the mesh's identity, callers' identities
// verified and authorized, sane limits, and the gRPC health service. Options are
// applied after the mesh's own; grpc.InTapHandle is not among them, a server has only
// one. Run it with Serve.
func (m *Mesh) NewGRPCServer(opts ...grpc.ServerOption) *grpc.Server {
	age := keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}
	if bound := m.connectionAge(); bound > 0 {
		age.MaxConnectionAge = bound // grpc adds 10 % jitter
		age.MaxConnectionAgeGrace = bound / 10
	}
	request := resilience.NewGRPCInbound(resilience.InboundConfig{Service: m.cfg.Service, Deadline: m.from.deadline, Logger: m.log})
	unary, stream := []grpc.UnaryServerInterceptor{request.Unary}, []grpc.StreamServerInterceptor{request.Stream}
	streams := &methods{}
	gates := resilience.NewGRPCServerGates(resilience.GRPCServerConfig{
		Service: m.cfg.Service, Tap: m.from.sheds, Streams: streams.has, Gates: m.from.gates, Logger: m.log,
	})
	if len(m.from.gates) > 0 {
		unary, stream = slices.Insert(unary, 0, gates.Unary), slices.Insert(stream, 0, gates.Stream)
	}
	// Outermost, because nothing is spent on who may not call; the tap is before the body.
	may := authz.NewGRPCServer(m.authorizer)
	var shed tap.ServerInHandle
	if len(m.from.sheds) > 0 {
		shed = gates.Tap
	}
	stream = slices.Insert(stream, 0, may.Stream)
	// Around the first, because gRPC allocates for each further one.
	inner := unary[0]
	unary[0] = func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		ctx, err := may.Admit(ctx, info.FullMethod)
		if err != nil {
			return nil, err
		}
		return inner(ctx, req, info, handler)
	}
	// Outermost, so that it sees what the caller gets.
	unary[0], stream[0] = m.watch.unaryServer(unary[0]), m.watch.streamServer(stream[0])
	all := append([]grpc.ServerOption{
		grpc.Creds(security.PermissiveCredentials(security.ServerCredentials(m.identity, m.mayConnect(), m.rejected), m.permissive())),
		grpc.InTapHandle(m.watch.tap(tapped(may, shed))),
		grpc.ConnectionTimeout(handshakeTimeout),
		grpc.NumStreamWorkers(streamWorkers),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxHeaderListSize(maxHeaderList),
		grpc.InitialWindowSize(streamWindow),
		grpc.InitialConnWindowSize(connWindow),
		grpc.KeepaliveParams(age),
		// Members ping every 10 s, without a call too.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		// Outside the user's, who may ask for the request's deadline and attempt.
		grpc.ChainUnaryInterceptor(unary...),
		grpc.ChainStreamInterceptor(stream...),
	}, opts...)
	srv := grpc.NewServer(all...)
	streams.of = srv
	h := health.NewServer()
	h.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING) // until Serve
	healthpb.RegisterHealthServer(srv, h)
	m.grpc.mu.Lock()
	defer m.grpc.mu.Unlock()
	if m.grpc.health == nil {
		m.grpc.health = map[*grpc.Server]*health.Server{}
	}
	if m.grpc.idle == nil {
		m.grpc.idle = map[*grpc.Server]bool{}
	}
	m.grpc.health[srv], m.grpc.idle[srv] = h, true
	return srv
}

// methods knows which methods of a server are streams. It looks when the first
// request comes: by then all services are registered.
type methods struct {
	of      *grpc.Server
	once    sync.Once
	streams map[string]bool
}

func (m *methods) has(method string) bool {
	m.once.Do(func() {
		m.streams = map[string]bool{}
		for service, info := range m.of.GetServiceInfo() {
			for _, x := range info.Methods {
				if x.IsClientStream || x.IsServerStream {
					m.streams["/"+service+"/"+x.Name] = true
				}
			}
		}
	})
	return m.streams[method]
}

// grpcServer is how Serve runs a server of NewGRPCServer.
func (m *Mesh) grpcServer(srv *grpc.Server) (*server, error) {
	m.grpc.mu.Lock()
	h := m.grpc.health[srv]
	m.grpc.mu.Unlock()
	if h == nil {
		return nil, errors.New("mesh: this *grpc.Server was not made by Mesh.NewGRPCServer, so it has no identity, or has been served; make one there")
	}
	return &server{
		protocol: "grpc",
		serve: func(l net.Listener) error {
			m.grpc.mu.Lock()
			delete(m.grpc.idle, srv)
			m.grpc.mu.Unlock()
			defer func() {
				m.grpc.mu.Lock()
				delete(m.grpc.health, srv)
				m.grpc.mu.Unlock()
			}()
			return srv.Serve(l)
		},
		ready: func(up bool) {
			if up {
				h.SetServingStatus("", healthpb.HealthCheckResponse_SERVING)
			} else {
				h.Shutdown() // watchers hear NOT_SERVING, and it stays so
			}
		},
		drain: func(ctx context.Context) error {
			done := make(chan struct{})
			go func() { srv.GracefulStop(); close(done) }()
			select {
			case <-done:
				return nil
			case <-ctx.Done():
				srv.Stop() // ends GracefulStop
				<-done
				return ctx.Err()
			}
		},
		cut: srv.Stop,
	}, nil
}

func (m *Mesh) grpcServerOf(srv any) (*server, error) {
	if srv, ok := srv.(*grpc.Server); ok {
		return m.grpcServer(srv)
	}
	return nil, fmt.Errorf("mesh: cannot serve a %T; want a *grpc.Server or an *http.Server", srv)
}
