package authz

import (
	"context"
	"crypto/x509"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	"github.com/weft-mesh/weft/security"
)

// metadataHeaders is gRPC metadata as Headers.
type metadataHeaders metadata.MD

func (h metadataHeaders) Values(name string) []string {
	var buf [64]byte
	if len(name) > len(buf) {
		return h[lowerASCII(name)]
	}
	for i := range len(name) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		buf[i] = c
	}
	return h[string(buf[:len(name)])]
}

func (h metadataHeaders) each(f func(name string, values []string)) {
	for name, values := range h {
		f(name, values)
	}
}

// GRPCServerOptions put an Authorizer in front of all methods of a server. A call is
// judged when its headers have come, before a message is read, by way of the
// server's one [grpc.InTapHandle]; interceptors hold the decision, and judge where
// there was no tap (ServeHTTP). A stream is ended with PermissionDenied when a change
// of the rules no longer allows it. Handlers see no metadata that poses as an
// identity, and with [FromContext] who called.
//
// A call that is refused ends with PermissionDenied, Unauthenticated if it wants a
// valid token, Unavailable while the rules are not known, InvalidArgument if its
// method has a strange name.
//
// The server must use [security.ServerCredentials]. The interceptors should come
// before others.
func GRPCServerOptions(a *Authorizer) []grpc.ServerOption {
	g := NewGRPCServer(a)
	return []grpc.ServerOption{grpc.InTapHandle(g.Tap), grpc.ChainUnaryInterceptor(g.Unary), grpc.ChainStreamInterceptor(g.Stream)}
}

// GRPCServer is the parts of [GRPCServerOptions], for a server that chains its
// interceptors itself. Unary and Stream are needed, Tap is not.
type GRPCServer struct {
	a   *Authorizer
	ids [64]atomic.Pointer[knownPeer]

	mu    sync.Mutex
	early float64 // refusals that Tap may still make
	last  time.Time
}

// Tap refuses before the first message is read. grpc-go keeps a context of about
// 200 bytes for each call that a tap refuses until the connection ends, so a caller
// who keeps asking is refused by the interceptors.
const (
	earlyBurst  = 10_000
	earlyPerSec = 20
)

// NewGRPCServer makes the parts.
func NewGRPCServer(a *Authorizer) *GRPCServer { return &GRPCServer{a: a, early: earlyBurst} }

func (g *GRPCServer) mayRefuseEarly() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if !g.last.IsZero() {
		g.early = min(earlyBurst, g.early+now.Sub(g.last).Seconds()*earlyPerSec)
	}
	g.last = now
	if g.early < 1 {
		return false
	}
	g.early--
	return true
}

// Tap is a tap.ServerInHandle.
func (g *GRPCServer) Tap(ctx context.Context, info *tap.Info) (context.Context, error) {
	c := &GRPCCall{}
	if err := g.TapInto(ctx, info, c); err != nil {
		return ctx, err
	}
	return &c.admitted, nil
}

// GRPCCall is what is kept of a call. A server that makes a context for each call
// anyhow has one in it and saves an allocation: see [GRPCServer.TapInto].
type GRPCCall struct {
	admitted admitted
	req      Request
}

// Value is for the Value of the context that the call is in; nil: ask on.
func (c *GRPCCall) Value(key any) any {
	if key == (admissionKey{}) {
		return &c.admitted
	}
	return nil
}

// TapInto is Tap for a server that returns a context of its own. It fills c, whose
// Value that context asks, and which is used for this call only.
func (g *GRPCServer) TapInto(ctx context.Context, info *tap.Info, c *GRPCCall) error {
	g.judge(ctx, info.FullMethodName, info.Header, c)
	if c.admitted.denied && g.mayRefuseEarly() {
		return refusal(g.a.finish(&c.req, c.admitted.soFar).Err)
	}
	for name := range info.Header { // the map in ctx is the same
		if unwelcome(name) {
			delete(info.Header, name)
		}
	}
	return nil
}

// knownPeer is the identity of a certificate that a handshake has verified.
type knownPeer struct {
	cert *x509.Certificate
	id   security.PeerID
}

// caller is the identity of the peer, read once from the certificate of a connection.
func (g *GRPCServer) caller(ctx context.Context) security.PeerID {
	var leaf *x509.Certificate
	if p, ok := peer.FromContext(ctx); ok {
		if info, ok := p.AuthInfo.(credentials.TLSInfo); ok && len(info.State.PeerCertificates) > 0 {
			leaf = info.State.PeerCertificates[0]
		}
	}
	if leaf == nil || len(leaf.Signature) == 0 {
		id, _ := security.PeerFromContext(ctx)
		return id
	}
	slot := &g.ids[int(leaf.Signature[len(leaf.Signature)-1])%len(g.ids)]
	if k := slot.Load(); k != nil && k.cert == leaf {
		return k.id
	}
	id, ok := security.PeerFromContext(ctx)
	if ok {
		slot.Store(&knownPeer{leaf, id})
	}
	return id
}

// judge asks the rules. The refusal is kept, and logged where it is carried out.
func (g *GRPCServer) judge(ctx context.Context, method string, md metadata.MD, c *GRPCCall) {
	c.admitted = admitted{Context: ctx, decided: true, a: g.a, req: &c.req}
	c.req = Request{Caller: g.caller(ctx), Protocol: "grpc", Method: "POST", Path: method, Headers: metadataHeaders(md)}
	if v := md[":authority"]; len(v) == 1 {
		c.req.Authority = v[0]
	}
	d := &c.admitted.soFar
	if err := CheckGRPCPath(method); err != nil {
		*d = ambiguous(err)
	} else {
		*d = g.a.judge(&c.req)
	}
	if !d.Allowed && !(g.a.cfg.DryRun && d.Err != ErrAmbiguous) {
		c.admitted.denied = true
		return
	}
	c.admitted.Admission = c.req.admission(d)
}

// admit is the rest of the decision, in a goroutine of the call's own.
func (g *GRPCServer) admit(ctx context.Context, method string) (context.Context, *admitted, error) {
	c, ok := ctx.Value(admissionKey{}).(*admitted)
	if !ok || !c.decided || c.a != g.a || c.req.Path != method {
		md, _ := metadata.FromIncomingContext(ctx) // a copy
		one := &GRPCCall{}
		g.judge(ctx, method, md, one)
		for name := range md {
			if unwelcome(name) {
				delete(md, name)
			}
		}
		c = &one.admitted
		c.Context = metadata.NewIncomingContext(ctx, md)
		ctx = c
	}
	if c.denied {
		return nil, nil, refusal(g.a.finish(c.req, c.soFar).Err)
	}
	d := g.a.finish(c.req, g.a.outside(ctx, c.req, c.soFar))
	if !d.Allowed {
		return nil, nil, refusal(d.Err)
	}
	return ctx, c, nil
}

// Admit is Unary for a server that calls the handler itself: the handler's context,
// or the refusal. It saves the interceptor.
func (g *GRPCServer) Admit(ctx context.Context, method string) (context.Context, error) {
	ctx, _, err := g.admit(ctx, method)
	return ctx, err
}

// Unary is a grpc.UnaryServerInterceptor.
func (g *GRPCServer) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	ctx, _, err := g.admit(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	return handler(ctx, req)
}

// Stream is a grpc.StreamServerInterceptor. The handler runs in a goroutine of its
// own, so that the stream can be ended under it; its context ends then.
func (g *GRPCServer) Stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	ctx, c, err := g.admit(ss.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	revoked := make(chan error, 1)
	live := g.a.Track(c.req, func(d Decision) { revoked <- refusal(d.Err) })
	defer live.Done()
	result := make(chan error, 1)
	panicked := make(chan any, 1)
	go func() {
		ended := false
		defer func() {
			if !ended {
				panicked <- recover() // carried to the goroutine that interceptors expect it in
			}
		}()
		err := handler(srv, &admittedStream{ss, ctx})
		ended = true
		result <- err
	}()
	select {
	case err := <-result:
		return err
	case p := <-panicked:
		panic(p)
	case err := <-revoked:
		return err
	}
}

// admittedStream is a ServerStream with another context.
type admittedStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *admittedStream) Context() context.Context { return s.ctx }

// refusal says no, and never why.
func refusal(err error) error {
	switch err {
	case ErrUnauthenticated:
		return status.Error(codes.Unauthenticated, "a valid token is required")
	case ErrNotReady:
		return status.Error(codes.Unavailable, "the rules for callers are not known yet")
	case ErrAmbiguous:
		return status.Error(codes.InvalidArgument, "the method's name can be read in more than one way")
	}
	return status.Error(codes.PermissionDenied, "this caller may not make this call")
}
