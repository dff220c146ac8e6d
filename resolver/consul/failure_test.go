package consul

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

// TestFailuresKeepTheList: whatever a source answers instead of a list, the last
// one stays, Stale, and a source that recovers is believed again.
func TestFailuresKeepTheList(t *testing.T) {
	t.Parallel()
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = z.Write(append([]byte("["), bytes.Repeat([]byte(" "), 3<<20)...))
	_ = z.Close()
	explode := func(w http.ResponseWriter) {
		w.Header().Set("X-Consul-Index", "9")
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(bomb.Bytes())
	}
	tests := []struct {
		name string
		bad  response
		is   error
		says string
	}{
		{"500", response{status: 500, body: "No cluster leader"}, nil, "No cluster leader"},
		{"503", response{status: 503, body: "EOF"}, nil, "503"},
		{"429", response{status: 429, body: "Your IP is issuing too many concurrent connections"}, nil, "too many"},
		{"404", response{status: 404, body: "not a Consul"}, nil, "404"},
		{"403", response{status: 403, body: `Permission denied: token with AccessorID 'x' lacks permission 'service:read' on "web"`}, ErrACL, "grant service:read"},
		{"unknown token", response{status: 403, body: "ACL not found"}, ErrACL, "CONSUL_HTTP_TOKEN"},
		{"redirect", response{status: 307, header: map[string]string{"Location": "http://evil.test/"}}, nil, "307"},
		{"truncated", response{index: 9, body: instances(3)[:300]}, io.ErrUnexpectedEOF, ""},
		{"not JSON", response{index: 9, body: "<html>"}, nil, "invalid character"},
		{"not a list", response{index: 9, body: `{"a":1}`}, nil, "list"},
		{"gzip bomb", response{raw: explode}, ErrTooLarge, "64 MiB"},
		{"every entry malformed", response{index: 9, body: `[{"Node":{"Node":"n"},"Service":{"ID":"x","Port":0}}]`}, ErrImplausible, "port 0"},
		{"filtered to nothing", response{index: 9, header: map[string]string{"X-Consul-Results-Filtered-By-ACLs": "true"}}, ErrACL, "node:read"},
		{"no leader", response{index: 9, body: instances(3), header: map[string]string{"X-Consul-KnownLeader": "false"}}, errNoLeader, ""},
		{"old contact", response{index: 9, body: instances(3), header: map[string]string{"X-Consul-LastContact": "3600000"}}, errNoLeader, "1h0m0s"},
		{"hangs", response{hang: true}, context.DeadlineExceeded, "no answer within"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			first := func(q question) response {
				if q.n == 0 {
					return list3(5)
				}
				return tt.bad
			}
			bubble(t, Config{Wait: 2 * time.Second}, first, func(t *testing.T, f *fake, c *Catalog) {
				w := read(t, c, "web")
				pass(3 * time.Minute)
				s := w.last()
				if !stale(3)(s) || s.Reason == nil || tt.is != nil && !errors.Is(s.Reason, tt.is) || !strings.Contains(fmt.Sprint(s.Reason), tt.says) {
					t.Errorf("during the outage: %s", show(s))
				}
				if age := time.Since(s.StaleSince); age < 2*time.Minute || s.StaleSince.Before(s.AsOf) {
					t.Errorf("stale since %v, as of %v", s.StaleSince, s.AsOf)
				}
				for _, s := range w.seen() {
					if s.State != resolver.Unknown && len(s.Endpoints) != 3 {
						t.Errorf("delivered %s", show(s))
					}
				}
				if n := f.queries(); n > 200 {
					t.Errorf("%d queries in an outage of 3 minutes", n)
				}
				f.set(func(q question) response { return block(q, response{index: 20, body: instances(2)}) })
				pass(15 * time.Second)
				if s := w.last(); !known(2)(s) || s.Reason != nil || !s.StaleSince.IsZero() {
					t.Errorf("after recovery: %s", show(s))
				}
			})
		})
	}
}

// TestUnknownSaysWhy: the same answers to a first question never look like an
// empty service.
func TestUnknownSaysWhy(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]response{
		"500":                 {status: 500, body: "No cluster leader"},
		"403":                 {status: 403, body: "Permission denied"},
		"filtered to nothing": {index: 9, header: map[string]string{"X-Consul-Results-Filtered-By-ACLs": "true"}},
		"default deny and no token": {index: 9, header: map[string]string{
			"X-Consul-Default-ACL-Policy": "deny"}},
		"truncated": {index: 9, body: "["},
		"hangs":     {hang: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, Config{}, func(question) response { return bad }, func(t *testing.T, f *fake, c *Catalog) {
				w := read(t, c, "web")
				if s := w.last(); s.State != resolver.Unknown {
					t.Errorf("at first: %s", show(s))
				}
				pass(30 * time.Second)
				if s := w.last(); s.State != resolver.Unknown || s.Reason == nil {
					t.Errorf("got %s", show(s))
				}
			})
		})
	}
}

// TestStaleReadWithoutLeader: a process that starts while there is no leader
// serves what the servers still know.
func TestStaleReadWithoutLeader(t *testing.T) {
	t.Parallel()
	answer := func(q question) response {
		if q.stale {
			r := list3(5)
			r.header = map[string]string{"X-Consul-KnownLeader": "false", "X-Consul-LastContact": "60000"}
			return r
		}
		return response{status: 500, body: "No cluster leader"}
	}
	bubble(t, Config{}, answer, func(t *testing.T, f *fake, c *Catalog) {
		w := read(t, c, "web")
		s := w.last()
		if !stale(3)(s) || !strings.Contains(s.Reason.Error(), "No cluster leader") || time.Since(s.StaleSince) < time.Minute {
			t.Errorf("got %s, stale since %v", show(s), s.StaleSince)
		}
	})
}

// TestFrozenSince: silence is dated from when it began, not from when it was noticed.
func TestFrozenSince(t *testing.T) {
	t.Parallel()
	answer := func(q question) response {
		if q.n == 0 {
			return list3(5)
		}
		return response{hang: true}
	}
	bubble(t, Config{}, answer, func(t *testing.T, f *fake, c *Catalog) {
		began := time.Now()
		w := read(t, c, "web")
		pass(deadline(defaultWait) + time.Second)
		if s := w.last(); !stale(3)(s) || s.StaleSince.Sub(began) > time.Second {
			t.Errorf("%s, stale since %v after the beginning", show(s), s.StaleSince.Sub(began))
		}
	})
}

// TestLateTrustDomain: endpoints do not wait for their identities for long.
func TestLateTrustDomain(t *testing.T) {
	t.Parallel()
	bubble(t, Config{}, steps(list3(5)), func(t *testing.T, f *fake, c *Catalog) {
		ready := make(chan struct{})
		f.roots = func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-ready:
			case <-r.Context().Done():
				return
			}
			if r.URL.Query().Get("index") != "" {
				<-r.Context().Done()
				return
			}
			w.Header().Set("X-Consul-Index", "3")
			fmt.Fprint(w, `{"TrustDomain":"late"}`)
		}
		w := read(t, c, "web")
		pass(trustPatience - time.Millisecond)
		if s := w.last(); s.State != resolver.Unknown {
			t.Errorf("did not wait for the trust domain: %s", show(s))
		}
		pass(2 * time.Millisecond)
		if s := w.last(); !known(3)(s) || s.Endpoints[0].SPIFFEID != "" {
			t.Errorf("after waiting: %s", show(s))
		}
		close(ready)
		if s := w.last(); !known(3)(s) || s.Endpoints[0].SPIFFEID != "spiffe://late/ns/default/dc/dc1/svc/web" {
			t.Errorf("with the trust domain: %s", show(s))
		}
	})
}

// TestTokenFile: the token is read again when it changes, and shows nowhere.
func TestTokenFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	write := func(token string, at time.Time) {
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	write("secret-one", time.Unix(1000, 0))
	answer := func(q question) response {
		if q.token != "secret-two" {
			return response{status: 403, body: "Permission denied"}
		}
		return block(q, list3(5))
	}
	var log bytes.Buffer
	cfg := Config{TokenFile: file, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	bubble(t, cfg, answer, func(t *testing.T, f *fake, c *Catalog) {
		w := read(t, c, "web")
		if s := w.last(); !errors.Is(s.Reason, ErrACL) || strings.Contains(s.Reason.Error(), "secret") {
			t.Errorf("got %s", show(s))
		}
		write("secret-two", time.Unix(2000, 0))
		pass(15 * time.Second)
		if s := w.last(); !known(3)(s) {
			t.Errorf("with the new token: %s", show(s))
		}
	})
	if strings.Contains(log.String(), "secret") || !strings.Contains(log.String(), "registry.acl_filtered") {
		t.Errorf("log: %s", log.String())
	}
}
