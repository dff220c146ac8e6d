package balancer

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The bound of a lane, or of its Config, holds for dial, TLS and settings together,
// whether it is shorter or longer than the channel's.
func TestGRPCConnectTimeout(t *testing.T) {
	t.Parallel()
	const s, ms, never = time.Second, time.Millisecond, time.Hour
	for _, tc := range []struct {
		name                string
		lane, config        time.Duration
		dial, tls, settings time.Duration
		fails               time.Duration // 0: the call succeeds
		why                 string
	}{
		{"black hole", 700 * ms, 0, never, 0, 0, 700 * ms, "context deadline exceeded"},
		{"mute before TLS", 700 * ms, 0, 0, never, 0, 700 * ms, "authentication handshake failed"},
		{"mute after TLS", 700 * ms, 0, 0, 0, never, 700 * ms, "error reading server preface"},
		{"all of them slow", 700 * ms, 0, 300 * ms, 300 * ms, 300 * ms, 700 * ms, "error reading server preface"},
		{"in time", 700 * ms, 0, 200 * ms, 200 * ms, 200 * ms, 0, ""},
		{"longer, black hole", 8 * s, 0, never, 0, 0, 8 * s, "context deadline exceeded"},
		{"longer, mute before TLS", 8 * s, 0, 0, never, 0, 8 * s, "authentication handshake failed"},
		{"longer, mute after TLS", 8 * s, 0, 0, 0, never, 8 * s, "error reading server preface"},
		{"longer, slow dial", 8 * s, 0, 5 * s, 0, 0, 0, ""},
		{"longer, slow TLS", 8 * s, 0, 0, 5 * s, 0, 0, ""},
		{"longer, slow settings", 8 * s, 0, 0, 0, 5 * s, 0, ""},
		{"of the Config", 0, 700 * ms, 0, 0, never, 700 * ms, "error reading server preface"},
		{"of the Config, longer", 0, 8 * s, 0, 0, 5 * s, 0, ""},
		{"the lane's before the Config's", 8 * s, 700 * ms, 0, 5 * s, 0, 0, ""},
		{"the channel's, black hole", 0, 0, never, 0, 0, 2 * s, "context deadline exceeded"},
		{"the channel's, mute before TLS", 0, 0, 0, never, 0, 2 * s, "authentication handshake failed"},
		{"the channel's, mute after TLS", 0, 0, 0, 0, never, 2 * s, "error reading server preface"},
		{"the channel's, in time", 0, 0, 0, 0, 1900 * ms, 0, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := newSlowHost(t)
				h.dial.Store(int64(tc.dial))
				h.tls.Store(int64(tc.tls))
				h.settings.Store(int64(tc.settings))
				cc := dial(t, newResolver(oneLane(&Config{ConnectTimeout: tc.config}, tc.lane)),
					bounded(t, DialConfig{ConnectTimeout: 2 * s, Backoff: steady}, anyPeer, grpc.WithContextDialer(h.connect))...)
				start := time.Now()
				_, err := call(t.Context(), cc, "")
				took := time.Since(start)
				if tc.fails == 0 {
					if want := tc.dial + tc.tls + tc.settings; err != nil || took != want {
						t.Errorf("after %v: %v; want success after %v", took, err, want)
					}
					// The bound is for making a connection, not for having it.
					for _, d := range []time.Duration{tc.lane, time.Minute} {
						time.Sleep(d)
						if _, err := call(t.Context(), cc, ""); err != nil || len(h.attempts) != 1 {
							t.Errorf("%v later: %v, %d connections", d, err, len(h.attempts))
						}
					}
					return
				}
				if took != tc.fails || status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), tc.why) ||
					!strings.Contains(err.Error(), fmt.Sprintf("within the ConnectTimeout, %v", tc.fails)) {
					t.Errorf("after %v: %v; want %q after %v", took, err, tc.why, tc.fails)
				}
			})
		})
	}
}

// Without a word of a lane, a channel tries when and for as long as grpc does without
// DialOptions; a lane's bound does not grow.
func TestGRPCConnectCadence(t *testing.T) {
	t.Parallel()
	const s = time.Second
	params := grpc.WithConnectParams(grpc.ConnectParams{Backoff: steady, MinConnectTimeout: 3 * s})
	cadence := func(t *testing.T, lane time.Duration, opts func(*slowHost) []grpc.DialOption) (at, given []time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			h := newSlowHost(t)
			h.dial.Store(int64(time.Hour))
			start := time.Now()
			cc := dial(t, newResolver(oneLane(nil, lane)), append(opts(h), anyPeer)...)
			cc.Connect()
			time.Sleep(90 * s)
			_ = cc.Close()
			synctest.Wait()
			for _, x := range h.attempts {
				at = append(at, x.Sub(start))
			}
			given = h.given[:6]
		})
		return at, given
	}
	plainAt, plain := cadence(t, 0, func(h *slowHost) []grpc.DialOption {
		return []grpc.DialOption{params, grpc.WithContextDialer(h.connect)}
	})
	if want := []time.Duration{3 * s, 3 * s, 4 * s, 8 * s, 8 * s, 8 * s}; !slices.Equal(plain, want) {
		t.Errorf("grpc itself gives %v, want %v", plain, want)
	}
	for name, tc := range map[string]struct {
		lane time.Duration
		cfg  DialConfig
		opts []grpc.DialOption
		want []time.Duration // nil: as grpc
	}{
		"the channel's":           {0, DialConfig{ConnectTimeout: 3 * s, Backoff: steady}, nil, nil},
		"of the caller's options": {0, DialConfig{ConnectTimeout: s, Backoff: backoff.Config{BaseDelay: 1}}, []grpc.DialOption{params}, nil},
		"a lane's, as long":       {3 * s, DialConfig{ConnectTimeout: 3 * s, Backoff: steady}, nil, slices.Repeat([]time.Duration{3 * s}, 6)},
		"a lane's, shorter":       {s, DialConfig{ConnectTimeout: 3 * s, Backoff: steady}, nil, slices.Repeat([]time.Duration{s}, 6)},
	} {
		t.Run(name, func(t *testing.T) {
			at, given := cadence(t, tc.lane, func(h *slowHost) []grpc.DialOption {
				return bounded(t, tc.cfg, append(tc.opts, grpc.WithContextDialer(h.connect))...)
			})
			if tc.want == nil && !slices.Equal(at, plainAt) {
				t.Errorf("attempts at %v, grpc's are at %v", at, plainAt)
			}
			if want := tc.want; !slices.Equal(given, want) && (want != nil || !slices.Equal(given, plain)) {
				t.Errorf("attempts last %v, want %v", given, want)
			}
		})
	}
}

// After a success the count of failures begins anew.
func TestGRPCConnectTimeoutAfterSuccess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newSlowHost(t)
		h.dial.Store(int64(time.Hour))
		cc := dial(t, newResolver(oneLane(nil, 0)),
			bounded(t, DialConfig{ConnectTimeout: time.Second, Backoff: steady}, anyPeer, grpc.WithContextDialer(h.connect))...)
		cc.Connect()
		time.Sleep(time.Minute)
		h.dial.Store(0)
		if _, err := call(t.Context(), cc, "", grpc.WaitForReady(true)); err != nil {
			t.Fatal(err)
		}
		h.dial.Store(int64(time.Hour))
		h.given = nil
		h.srv.Stop()
		time.Sleep(time.Minute)
		_ = cc.Close()
		synctest.Wait()
		if want := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}; !slices.Equal(h.given[:3], want) {
			t.Errorf("attempts last %v, want %v", h.given, want)
		}
	})
}

// Another bound costs no connection, and holds from the next attempt on.
func TestGRPCConnectTimeoutChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newSlowHost(t)
		cfg := &Config{}
		r := newResolver(oneLane(cfg, 700*time.Millisecond))
		cc := dial(t, r, bounded(t, DialConfig{ConnectTimeout: 2 * time.Second, Backoff: steady}, anyPeer, grpc.WithContextDialer(h.connect))...)
		for _, d := range []time.Duration{700 * time.Millisecond, 8 * time.Second, 0, 300 * time.Millisecond} {
			r.UpdateState(oneLane(cfg, d))
			if _, err := call(t.Context(), cc, ""); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		if len(h.attempts) != 1 {
			t.Fatalf("%d connections were made, want 1", len(h.attempts))
		}
		h.dial.Store(int64(time.Hour))
		h.srv.Stop() // and it dials again
		time.Sleep(time.Second)
		r.UpdateState(oneLane(cfg, 5*time.Second))
		time.Sleep(time.Minute)
		_ = cc.Close()
		synctest.Wait()
		if len(h.given) < 2 || h.given[0] != 300*time.Millisecond || h.given[1] != 5*time.Second {
			t.Errorf("attempts last %v, want 300ms, then 5s", h.given)
		}
	})
}

// Lanes of one channel that share an endpoint have a connection each, and each of them
// its own bound.
func TestGRPCConnectTimeoutPerLane(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newSlowHost(t)
		h.settings.Store(int64(5 * time.Second))
		s := endpoints("10.0.0.1:1")
		AttachLanes(&s, []Lane{{Name: "hasty", ConnectTimeout: time.Second}, {Name: "patient", ConnectTimeout: 8 * time.Second}})
		cc := dial(t, newResolver(s), bounded(t, DialConfig{ConnectTimeout: 2 * time.Second, Backoff: steady}, anyPeer, grpc.WithContextDialer(h.connect))...)
		start := time.Now()
		if _, err := call(inLane(t.Context(), "hasty"), cc, ""); err == nil || time.Since(start) != time.Second {
			t.Errorf("hasty: %v after %v, want an error after 1s", err, time.Since(start))
		}
		if _, err := call(inLane(t.Context(), "patient"), cc, ""); err != nil || time.Since(start) != 5*time.Second {
			t.Errorf("patient: %v after %v, want success after 5s", err, time.Since(start))
		}
	})
}

func TestDialOptionsRefuses(t *testing.T) {
	t.Parallel()
	if _, err := DialOptions(DialConfig{ConnectTimeout: -1}); err == nil || !strings.Contains(err.Error(), "DialConfig.ConnectTimeout") {
		t.Errorf("a negative timeout: %v", err)
	}
	if _, err := DialOptions(DialConfig{}, grpc.WithDefaultServiceConfig("{")); err == nil || !strings.Contains(err.Error(), "DialOptions") {
		t.Errorf("a bad service config: %v", err)
	}
	s := oneLane(nil, -1)
	cc := dial(t, newResolver(s))
	if _, err := call(t.Context(), cc, ""); err == nil || !strings.Contains(err.Error(), "Lane.ConnectTimeout") {
		t.Errorf("a negative timeout of a lane: %v", err)
	}
}

// Without a dialer among the options, TCP and Unix sockets are dialled.
func TestDialOptionsDial(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	for network, addr := range map[string]string{"tcp": "127.0.0.1:0", "unix": path} {
		lis, err := net.Listen(network, addr)
		if err != nil {
			t.Fatal(err)
		}
		b := startBackendOn(t, lis, nil, nil)
		target := b.addr
		if network == "unix" {
			target = "unix://" + path
		}
		s := endpoints(target)
		AttachLanes(&s, []Lane{{ConnectTimeout: time.Hour}})
		cc := dial(t, newResolver(s), bounded(t, DialConfig{})...)
		if who, err := call(t.Context(), cc, ""); err != nil || who != b.addr {
			t.Errorf("%s: %q, %v", network, who, err)
		}
	}
}

// The dialer among the options is found whatever else is among them and is not.
func TestDialOptionsFindsDialer(t *testing.T) {
	t.Parallel()
	mine := grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return nil, errRefused })
	for name, opts := range map[string][]grpc.DialOption{
		"alone":                   {mine},
		"with credentials":        {mine, anyPeer},
		"with a bundle":           {grpc.WithCredentialsBundle(bundle{}), mine},
		"with secrets of calls":   {mine, grpc.WithPerRPCCredentials(secret{})},
		"with interceptors":       {mine, grpc.WithChainUnaryInterceptor(nil)},
		"after another one":       {grpc.WithContextDialer(nil), mine},
		"with a default scheme":   {mine, grpc.WithResolvers(newResolver(endpoints("10.0.0.1:1")))},
		"with a service config":   {mine, grpc.WithDefaultServiceConfig(weftConfig)},
		"with idleness":           {mine, grpc.WithIdleTimeout(time.Nanosecond)},
		"with parameters of ours": {mine, quickConnect},
	} {
		d, err := dialerOf(opts)
		if err != nil || d == nil {
			t.Errorf("%s: none was found: %v", name, err)
			continue
		}
		if _, err := d(t.Context(), ""); err != errRefused {
			t.Errorf("%s: another one was found: %v", name, err)
		}
	}
	if d, err := dialerOf([]grpc.DialOption{anyPeer}); d != nil || err != nil {
		t.Errorf("a dialer was found where none is, %v", err)
	}
}

// An attempt that fails by itself has its own reason, also after one that was late.
func TestGRPCConnectReason(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int32
		refuse := func(ctx context.Context, _ string) (net.Conn, error) {
			if n.Add(1) > 1 {
				return nil, errRefused
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}
		cc := dial(t, newResolver(oneLane(nil, time.Second)), bounded(t, DialConfig{Backoff: steady}, anyPeer, grpc.WithContextDialer(refuse))...)
		for i, want := range []string{"within the ConnectTimeout, 1s", "refused"} {
			_, err := call(t.Context(), cc, "")
			if err == nil || !strings.Contains(err.Error(), want) || i > 0 && strings.Contains(err.Error(), "ConnectTimeout") {
				t.Errorf("%v, want %q", err, want)
			}
			time.Sleep(10 * time.Second)
		}
	})
}
