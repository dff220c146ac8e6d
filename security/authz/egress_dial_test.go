package authz_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/weft-mesh/weft/security/authz"
)

// dns answers each question with addresses that a test changes.
type dns struct {
	pc    net.PacketConn
	first atomic.Pointer[netip.Addr]
}

// resolver asks a DNS server on loopback that says what it is told to.
func resolver(t *testing.T) (*dns, *net.Resolver) {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &dns{pc: pc}
	var wg sync.WaitGroup
	wg.Go(d.serve)
	t.Cleanup(func() { _ = pc.Close(); wg.Wait() })
	return d, &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", pc.LocalAddr().String())
	}}
}

func (d *dns) serve() {
	buf := make([]byte, 1500)
	for {
		n, from, err := d.pc.ReadFrom(buf)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		q, ip := m.Questions[0], *d.first.Load()
		m.Response, m.Additionals = true, nil
		h := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}
		switch {
		case q.Type == dnsmessage.TypeA && ip.Is4():
			m.Answers = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.AResource{A: ip.As4()}}}
		case q.Type == dnsmessage.TypeAAAA && ip.Is6():
			m.Answers = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.AAAAResource{AAAA: ip.As16()}}}
		}
		if out, err := m.Pack(); err == nil {
			_, _ = d.pc.WriteTo(out, from)
		}
	}
}

// TestEgressRebinding: an allowed name that leads to this machine, or to where clouds
// keep a machine's credentials, is not followed, whatever it led to before; an
// address that is allowed itself is.
func TestEgressRebinding(t *testing.T) {
	t.Parallel()
	var reached atomic.Int64
	inner := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer inner.Close()
	_, port, err := net.SplitHostPort(inner.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		host, to string
		allow    []string
		dry      bool
		want     bool // it is not refused by the policy
		served   bool // and it is reached
	}{
		"loopback":              {"api.example.com", "127.0.0.1", nil, false, false, false},
		"another loopback":      {"api.example.com", "127.9.9.9", nil, false, false, false},
		"loopback, v6":          {"api.example.com", "::1", nil, false, false, false},
		"loopback, v4 in v6":    {"api.example.com", "::ffff:127.0.0.1", nil, false, false, false},
		"a cloud's metadata":    {"api.example.com", "169.254.169.254", nil, false, false, false},
		"link-local, v6":        {"api.example.com", "fe80::1", nil, false, false, false},
		"unspecified":           {"api.example.com", "0.0.0.0", nil, false, false, false},
		"multicast":             {"api.example.com", "224.0.0.1", nil, false, false, false},
		"below a wildcard":      {"a.cdn.example", "127.0.0.1", nil, false, false, false},
		"an allowed address":    {"api.example.com", "127.0.0.1", []string{"127.0.0.1:" + port}, false, true, true},
		"an allowed network":    {"api.example.com", "127.0.0.1", []string{"127.0.0.0/8"}, false, true, true},
		"of another port":       {"api.example.com", "127.0.0.1", []string{"127.0.0.1:1"}, false, false, false},
		"localhost":             {"localhost", "127.0.0.1", nil, false, true, true},
		"a dry run":             {"api.example.com", "127.0.0.1", nil, true, true, true},
		"a proxy, not a target": {"proxy.example", "127.0.0.1", nil, false, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			d, r := resolver(t)
			ip := netip.MustParseAddr(tc.to)
			d.first.Store(&ip)
			log := &logs{}
			e, err := authz.NewEgress(authz.EgressConfig{
				Service: "api", DryRun: tc.dry, Logger: log.logger(),
				Allow: append([]string{"api.example.com:" + port, "*.cdn.example:" + port, "localhost:" + port}, tc.allow...),
			})
			if err != nil {
				t.Fatal(err)
			}
			before := reached.Load()
			conn, err := e.Dial(net.Dialer{Resolver: r})(t.Context(), "tcp", net.JoinHostPort(tc.host, port))
			if err == nil {
				_ = conn.Close()
			}
			if refused := errors.Is(err, authz.ErrEgress); refused == tc.want || tc.served && err != nil {
				t.Errorf("error %v, want it refused: %v", err, !tc.want)
			}
			if !tc.want && (!strings.Contains(log.String(), "authz.egress_denied") || !strings.Contains(log.String(), "leads to")) {
				t.Errorf("it was not told:\n%s", log)
			}
			if reached.Load() != before {
				t.Error("a request was made")
			}
		})
	}
	// By a client, and after the name led elsewhere at first.
	d, r := resolver(t)
	e := egress(t, "api.example.com:"+port)
	tr := &http.Transport{DialContext: e.Dial(net.Dialer{Resolver: r}), DisableKeepAlives: true}
	c := &http.Client{Transport: authz.EgressTransport(e, tr)}
	ip := netip.MustParseAddr("127.0.0.1")
	d.first.Store(&ip)
	resp, err := c.Get("http://api.example.com:" + port)
	if err == nil {
		_ = resp.Body.Close()
	}
	if !errors.Is(err, authz.ErrEgress) || reached.Load() != 0 {
		t.Errorf("%v, reached %d times", err, reached.Load())
	}
}

// logs is a log that can be read while it is written.
type logs struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logs) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }
