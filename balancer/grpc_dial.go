package balancer

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	grpcresolver "google.golang.org/grpc/resolver"
)

// DialConfig says how long a gRPC channel may take to make a connection; see [DialOptions].
type DialConfig struct {
	// ConnectTimeout bounds one attempt to connect an endpoint of which neither a Config nor
	// a Lane says more. As everywhere in gRPC, after many failures in a row an attempt may take
	// as long as the backoff after it. 0: 20 s, which is gRPC's own.
	ConnectTimeout time.Duration
	// Backoff is how long a channel waits after an attempt that failed. Zero: backoff.DefaultConfig.
	Backoff backoff.Config
}

// unbounded is what grpc is told to bound connection attempts by, so that it does not:
// it knows one bound for a channel, and an attempt cannot outlive it.
const unbounded = 24 * time.Hour

// DialOptions is opts, completed so that the channel holds Config.ConnectTimeout and
// Lane.ConnectTimeout, be they shorter or longer than that of cfg. Each lane has
// connections of its own, so each of them has the bound of its lane. It covers the
// dial, the TLS handshake and the wait for the server's HTTP/2 settings together.
//
// A dialer among opts is called within these bounds. grpc.WithConnectParams among opts
// takes the place of cfg, and lanes with a longer timeout than its MinConnectTimeout
// are cut short by that.
//
// It refuses options that no channel can be made of; credentials may be missing.
//
// Without DialOptions a channel has its MinConnectTimeout for all endpoints, as any other.
func DialOptions(cfg DialConfig, opts ...grpc.DialOption) ([]grpc.DialOption, error) {
	if cfg.ConnectTimeout < 0 {
		return nil, fmt.Errorf("balancer: DialConfig.ConnectTimeout is %v; use 0 for 20s, or more", cfg.ConnectTimeout)
	}
	if cfg.Backoff == (backoff.Config{}) {
		cfg.Backoff = backoff.DefaultConfig
	}
	cfg.ConnectTimeout = cmp.Or(cfg.ConnectTimeout, 20*time.Second)
	d := &dialer{cfg: cfg}
	var err error
	if d.dial, err = dialerOf(opts); err != nil {
		return nil, err
	}
	if d.dial == nil {
		d.dial = dialTCP
	}
	all := append([]grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{Backoff: cfg.Backoff, MinConnectTimeout: unbounded})}, opts...)
	return append(all, grpc.WithContextDialer(d.connect)), nil
}

// dialer connects the endpoints of a channel.
type dialer struct {
	cfg  DialConfig
	dial func(ctx context.Context, addr string) (net.Conn, error)
}

// connect opens a connection and has it closed when the bound is over before grpc is
// done with it. The attempt lasts as long as ctx does: grpc ends it when the server's
// settings have come, or when it gives up. No connection is wrapped for that, and none
// is watched that is in use.
func (d *dialer) connect(ctx context.Context, addr string) (net.Conn, error) {
	c, _ := credentials.ClientHandshakeInfoFromContext(ctx).Attributes.Value(connKey{}).(*subConn) // nil: of another policy
	limit := d.limit(ctx, c)
	if limit == 0 {
		return d.dial(ctx, addr)
	}
	c.late(0)
	within, cancel := context.WithTimeout(ctx, limit)
	conn, err := d.dial(within, addr)
	if err != nil {
		if within.Err() != nil && ctx.Err() == nil {
			c.late(limit)
		}
		cancel()
		return nil, err
	}
	context.AfterFunc(within, func() {
		cancel()
		if ctx.Err() == nil {
			c.late(limit)
			_ = conn.Close() // whoever waits for the other end has its error
		}
	})
	return conn, nil
}

// limit bounds the attempt that begins. 0: grpc does.
func (d *dialer) limit(ctx context.Context, c *subConn) time.Duration {
	failures := 0
	if c != nil {
		if own := c.g.connectTimeout(); own > 0 {
			return own
		}
		failures = int(c.failures.Load())
	}
	if end, ok := ctx.Deadline(); ok && time.Until(end) < unbounded/2 {
		return 0 // grpc.WithConnectParams among the options
	}
	return max(d.cfg.ConnectTimeout, waitAfter(d.cfg.Backoff, failures))
}

// waitAfter is what grpc waits after so many failures.
func waitAfter(b backoff.Config, failures int) time.Duration {
	wait, most := float64(b.BaseDelay), float64(b.MaxDelay)
	if failures == 0 {
		return b.BaseDelay
	}
	for ; failures > 0 && wait < most; failures-- {
		wait *= b.Multiplier
	}
	wait = min(wait, most) * (1 + b.Jitter*(2*rand.Float64()-1))
	return time.Duration(max(wait, 0))
}

// capture is a resolver.Builder that keeps what a channel tells of its options.
type capture struct{ grpcresolver.BuildOptions }

func (*capture) Scheme() string { return "weft-options" }

func (c *capture) Build(_ grpcresolver.Target, _ grpcresolver.ClientConn, opts grpcresolver.BuildOptions) (grpcresolver.Resolver, error) {
	c.BuildOptions = opts
	return c, nil
}

func (*capture) ResolveNow(grpcresolver.ResolveNowOptions) {}

func (*capture) Close() {}

// dialerOf is the dialer among opts, or nil. Options cannot be read: a channel that
// never connects to anything is made of them, and tells its resolver.
func dialerOf(opts []grpc.DialOption) (func(context.Context, string) (net.Conn, error), error) {
	var c capture
	opts = append(slices.Clone(opts), grpc.WithResolvers(&c), grpc.WithNoProxy())
	cc, err := grpc.NewClient(c.Scheme()+":///", opts...)
	if err != nil { // perhaps the credentials are given later
		cc, err = grpc.NewClient(c.Scheme()+":///", append(opts, grpc.WithTransportCredentials(credentials.NewTLS(nil)))...)
	}
	if err != nil {
		return nil, fmt.Errorf("balancer: DialOptions: %w", err)
	}
	cc.Connect()
	_ = cc.Close()
	return c.Dialer, nil
}

// dialTCP is what grpc does without a dialer: keep-alive probes as the system has them.
func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: -1, Interval: -1, Count: -1}}
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		return d.DialContext(ctx, "unix", strings.TrimPrefix(path, "//"))
	}
	return d.DialContext(ctx, "tcp", addr)
}
