package consulauthz_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/weft-mesh/weft/security/authz"
	"github.com/weft-mesh/weft/security/authz/consulauthz"
)

// agent is an HTTP server that answers as a script says, for what a real agent does
// too rarely.
type agent struct {
	mu       sync.Mutex
	changed  chan struct{}
	index    uint64
	match    string
	status   int
	srv      *httptest.Server
	redirect string
}

func newAgent(t *testing.T) *agent {
	a := &agent{changed: make(chan struct{}), index: 10, match: `{"api":[]}`}
	a.srv = httptest.NewServer(a)
	t.Cleanup(a.srv.Close)
	return a
}

func (a *agent) set(index uint64, match string, status int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.index, a.match, a.status = index, match, status
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *agent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	if asked, _ := strconv.ParseUint(r.FormValue("index"), 10, 64); asked == a.index && a.status == 0 {
		changed := a.changed
		a.mu.Unlock()
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
		a.mu.Lock()
	}
	defer a.mu.Unlock()
	w.Header().Set("X-Consul-Index", fmt.Sprint(a.index))
	w.Header().Set("X-Consul-Default-ACL-Policy", "allow")
	switch {
	case a.status != 0:
		if a.status == http.StatusFound {
			w.Header().Set("Location", a.redirect)
		}
		w.WriteHeader(a.status)
	case r.URL.Path == "/v1/connect/intentions/match":
		_, _ = w.Write([]byte(a.match))
	case r.URL.Path == "/v1/agent/connect/authorize":
		_ = json.NewEncoder(w).Encode(map[string]any{"Authorized": true, "Reason": "Default behavior configured by ACLs"})
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (a *agent) conf(t *testing.T) *api.Config {
	c := api.DefaultConfig()
	c.Address, c.Token = a.srv.Listener.Addr().String(), "c4naryC4nary"
	t.Cleanup(c.Transport.CloseIdleConnections)
	return c
}

const deny = `{"api":[{"SourceName":"web","DestinationName":"api","Action":"deny","Precedence":9}]}`

// While the agent fails, or answers what is no list of intentions, nothing changes.
func TestFailuresChangeNothing(t *testing.T) {
	t.Parallel()
	a := newAgent(t)
	a.set(10, deny, 0)
	next := watching(t, consulauthz.Config{Service: "api", API: a.conf(t), MaxBackoff: time.Millisecond})
	if r := next(); len(r.Intentions) != 1 || r.Default != authz.Allow || r.Version != "consul index 10" {
		t.Fatalf("%+v", r)
	}
	a.set(11, deny, http.StatusInternalServerError)
	a.set(12, `{"db":[]}`, 0)
	a.set(13, `nonsense`, 0)
	a.set(14, `{"api":null}`, 0)
	if r := next(); len(r.Intentions) != 0 || r.Version != "consul index 14" {
		t.Errorf("%+v", r)
	}
}

// An agent that has lost its state and knows no intention any more is not believed
// for a while, because with default allow that would open everything.
func TestLostStateIsHeld(t *testing.T) {
	t.Parallel()
	a := newAgent(t)
	a.set(100, deny, 0)
	next := watching(t, consulauthz.Config{Service: "api", API: a.conf(t), MaxBackoff: time.Millisecond, Hold: 1500 * time.Millisecond})
	next()
	began := time.Now()
	a.set(5, `{"api":[]}`, 0)
	if r := next(); len(r.Intentions) != 0 || time.Since(began) < 1500*time.Millisecond {
		t.Errorf("after %v: %+v", time.Since(began), r)
	}
}

// A process that starts while the agent is away has the rules of the last run, if
// only it can have written them.
func TestCache(t *testing.T) {
	t.Parallel()
	a, dir := newAgent(t), t.TempDir()
	a.set(10, deny, 0)
	cfg := consulauthz.Config{Service: "api", API: a.conf(t), CacheDir: dir, MaxBackoff: time.Millisecond}
	watching(t, cfg)()
	file := filepath.Join(dir, "authz-api.json")
	for { // it is written after the rules are handed over
		if _, err := os.Stat(file); err == nil {
			break
		}
	}
	a.set(11, "", http.StatusInternalServerError)
	if r := watching(t, cfg)(); len(r.Intentions) != 1 || r.Default != authz.Allow || r.Version != "consul index 10 (from disk)" {
		t.Errorf("%+v", r)
	}
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func() error{
		"open to others": func() error { return os.Chmod(file, 0o644) },
		"no JSON":        func() error { return os.WriteFile(file, []byte("x"), 0o600) },
		"a link":         func() error { _ = os.Remove(file); return os.Symlink("/etc/hostname", file) },
	} {
		_ = os.Remove(file)
		if err := os.WriteFile(file, good, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		src, err := consulauthz.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = src.Watch(ctx, func(r authz.Rules) { t.Errorf("%s: %+v", name, r) }) // it ends by the context
		}()
		<-src.Asked()
		cancel()
		<-done
		if src.Status().Version != "" {
			t.Errorf("%s: %+v", name, src.Status())
		}
	}
}

// The token goes nowhere else, and is in no error.
func TestNoRedirect(t *testing.T) {
	t.Parallel()
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the token %q was sent away", r.Header.Get("X-Consul-Token"))
	}))
	defer thief.Close()
	a := newAgent(t)
	a.redirect = thief.URL
	a.set(10, "", http.StatusFound)
	src, err := consulauthz.New(consulauthz.Config{Service: "api", API: a.conf(t)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = src.Watch(ctx, func(authz.Rules) {}) }() // it ends by the context
	<-src.Asked()
	if err := src.Status().Err; err == nil {
		t.Error("a redirect is no error")
	}
	cancel()
	<-done
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, cfg := range []consulauthz.Config{{}, {Service: "x", Wait: time.Hour}, {Service: "x", MaxBackoff: -1}, {Service: "x", Default: "maybe"}} {
			if _, err := consulauthz.New(cfg); err == nil {
				t.Errorf("%+v was accepted", cfg)
			}
		}
	})
}
