package authz

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/security"
)

const gateway = "spiffe://mesh.example/gateway/mesh/dc/eu"

// Only a mesh gateway of our own trust domain is asked whose request it passes on,
// and it can speak for callers of other trust domains only.
func TestForwardedCertificate(t *testing.T) {
	t.Parallel()
	a := start(t, Config{Scope: scope(), Sources: []Source{Static{Default: Allow, Intentions: []Intention{
		{SourceName: "shop", SourcePeer: "partner", DestinationName: "api", Action: Allow},
		l4("web", Allow), l4("db", Deny),
	}}}})
	shop := "spiffe://partner.example/ns/default/dc/x/svc/shop"
	element := "By=" + gateway + `;Hash=ab;Cert="-----BEGIN%20CERTIFICATE-----";Chain="x,y;URI=spiffe://evil/x";Subject="CN=\"a,b\"";URI=`
	for name, tc := range map[string]struct {
		peer   string
		values []string
		ok     bool
	}{
		"a peer's service":           {gateway, []string{element + shop}, true},
		"first of two":               {gateway, []string{element + shop + ",By=" + shop + ";URI=" + gateway}, true},
		"second of two":              {gateway, []string{element + "spiffe://partner.example/ns/default/dc/x/svc/other,By=x;URI=" + shop}, false},
		"nothing":                    {gateway, nil, false},
		"two headers":                {gateway, []string{element + shop, element + shop}, false},
		"our own service":            {gateway, []string{element + "spiffe://mesh.example/ns/default/dc/eu/svc/web"}, false},
		"an unknown trust domain":    {gateway, []string{element + "spiffe://else.example/ns/default/dc/x/svc/shop"}, false},
		"seen by another":            {gateway, []string{"By=spiffe://mesh.example/ns/default/dc/eu/svc/db;URI=" + shop}, false},
		"two URIs":                   {gateway, []string{element + shop + ";URI=" + shop}, false},
		"no URI":                     {gateway, []string{"By=" + gateway + ";Hash=ab"}, false},
		"garbage":                    {gateway, []string{"x"}, false},
		"open quote":                 {gateway, []string{`By="` + gateway + ";URI=" + shop}, false},
		"from a service":             {"spiffe://mesh.example/ns/default/dc/eu/svc/db", []string{element + shop}, false},
		"from a gateway of a peer":   {"spiffe://partner.example/gateway/mesh/dc/x", []string{element + shop}, false},
		"from what looks like one":   {"spiffe://mesh.example/gateway/mesh/dc/eu/x", []string{"x"}, true}, // the default policy's matter
		"directly":                   {shop, nil, true},
		"directly, posing as others": {"spiffe://partner.example/ns/default/dc/x/svc/other", []string{element + shop}, false},
	} {
		var kv []string
		for _, v := range tc.values {
			kv = append(kv, ForwardedCert, v)
		}
		r := get(peerID(t, tc.peer), "/", kv...)
		d := a.Admit(t.Context(), r)
		if d.Allowed != tc.ok {
			t.Errorf("%s: %v by %q (%s)", name, d.Allowed, d.Rule, d.reason)
		}
		if tc.ok && tc.peer == gateway && (r.Caller.String() != shop || r.Via.String() != gateway) {
			t.Errorf("%s: caller %s via %s", name, r.Caller, r.Via)
		}
	}
}

func TestUnwelcomeHeaders(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"X-Forwarded-Client-Cert": true, "x_forwarded_client_cert": true, "X-FORWARDED_client-Cert": true, "Weft-Caller": true, "weft_peer": true,
		"X-Weft-Identity": true, "Weft_Timeout": true, "weft_anything": true, "L5d-Client-Id": true,
		"Weft-Timeout": false, "weft-priority": false, "X-Request-Id": false, "Authorization": false, strings.Repeat("weft_", 20): false,
	} {
		if got := unwelcome(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	for v, want := range map[string]bool{"keep-alive": false, "Upgrade, close": false, "X-Forwarded-Client-Cert": true, "close, Authorization": true, "weft_timeout": true} {
		if got := hopNames([]string{v}); got != want {
			t.Errorf("Connection: %s: %v", v, got)
		}
	}
}

// external is an outside engine.
type external func(context.Context, *Request) error

func (e external) Authorize(ctx context.Context, r *Request) error { return e(ctx, r) }

// An outside engine can refuse what the rules allow, and nothing else; its failure refuses.
func TestExternal(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		engine external
		rules  Action
		want   bool
	}{
		"both allow":   {func(context.Context, *Request) error { return nil }, Allow, true},
		"it refuses":   {func(context.Context, *Request) error { return errors.New(canary) }, Allow, false},
		"it panics":    {func(context.Context, *Request) error { panic("x") }, Allow, false},
		"rules refuse": {func(context.Context, *Request) error { t.Error("it was asked"); return nil }, Deny, false},
	} {
		a := start(t, Config{Scope: scope(), External: tc.engine, Sources: []Source{Static{Default: tc.rules}}})
		if d := a.Admit(t.Context(), get(svc(t, "web"), "/")); d.Allowed != tc.want {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

func TestDryRun(t *testing.T) {
	t.Parallel()
	var log logged
	a := start(t, Config{Scope: scope(), DryRun: true, Logger: log.logger(), Sources: []Source{Static{Default: Deny}}})
	if d := a.Admit(t.Context(), get(svc(t, "web"), "/x")); !d.Allowed {
		t.Errorf("%+v", d)
	}
	if err := a.Peer(svc(t, "web")); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), `"msg":"authz.would_deny"`) {
		t.Errorf("log: %s", log.String())
	}
	// What can be read in two ways is refused all the same.
	rec := httptest.NewRecorder()
	HTTPHandler(a, http.NotFoundHandler()).ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), "GET", "/a%2fb", nil))
	if rec.Code != http.StatusBadRequest {
		t.Errorf("status %d", rec.Code)
	}
}

// The audit log cannot be forged or flooded by a caller.
func TestAuditLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log logged
		a, err := New(Config{Scope: scope(), LogRate: 3, SampleAllowed: 1, Logger: log.logger(), Sources: []Source{Static{Intentions: []Intention{l4("web", Allow)}}}})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = a.Close(t.Context()) }()
		for range 10 {
			a.Admit(t.Context(), get(svc(t, "db"), "/x\n{\"msg\":\"forged\"}\u2028"+strings.Repeat("y", 1000), "Authorization", canary))
		}
		time.Sleep(time.Second)
		a.Admit(t.Context(), get(svc(t, "web"), "/x"))
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if n := strings.Count(log.String(), "authz.denied"); n != 3 {
			t.Errorf("%d denials in the log, want 3", n)
		}
		last := lines[len(lines)-1]
		if !strings.Contains(last, "authz.allowed") || !strings.Contains(last, `"suppressed":7`) || !strings.Contains(last, "default/web => default/api") {
			t.Errorf("last line: %s", last)
		}
		if strings.Contains(log.String(), canary) {
			t.Error("the log shows a header")
		}
		for _, l := range lines {
			if len(l) > 1500 || strings.Contains(l, "\u2028") {
				t.Errorf("line of %d bytes: %q", len(l), l)
			}
		}
	})
}

func TestAbsoluteAndConnect(t *testing.T) {
	t.Parallel()
	for _, on := range []bool{false, true} {
		scope := scope()
		scope.AnyDomain = true
		a := start(t, Config{Scope: scope, AllowAbsolute: on, AllowConnect: on, DryRun: true, Sources: []Source{Static{Default: Allow}}})
		h := HTTPHandler(a, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/x" || r.URL.Host != "" || r.RequestURI != "/x" {
				t.Errorf("routed as %v, %q", r.URL, r.RequestURI)
			}
		}))
		want := http.StatusBadRequest
		if on {
			want = http.StatusOK
		}
		for _, method := range []string{"GET", "CONNECT"} {
			req := httptest.NewRequestWithContext(t.Context(), "GET", "http://api/x", nil)
			req.Method = method
			rec := httptest.NewRecorder()
			if h.ServeHTTP(rec, req); rec.Code != want {
				t.Errorf("%s, enabled %v: %d", method, on, rec.Code)
			}
		}
	}
}

// A path that something changed after it was parsed is not what was sent.
func TestPathOutOfStep(t *testing.T) {
	t.Parallel()
	a := start(t, Config{Scope: scope(), DryRun: true, Sources: []Source{Static{Default: Allow}}})
	h := HTTPHandler(a, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	req := httptest.NewRequestWithContext(t.Context(), "GET", "/public", nil)
	req.URL.Path, req.URL.RawPath = "/admin%2fx", "/admin%2fx"
	rec := httptest.NewRecorder()
	if h.ServeHTTP(rec, req); rec.Code != http.StatusBadRequest {
		t.Errorf("status %d", rec.Code)
	}
	// Behind a StripPrefix the rest is what is judged and routed.
	var seen string
	h = http.StripPrefix("/api", HTTPHandler(a, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.URL.Path + " " + r.RequestURI })))
	rec = httptest.NewRecorder()
	if h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), "GET", "/api/%61dmin", nil)); seen != "/admin /admin" {
		t.Errorf("routed as %q, status %d", seen, rec.Code)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	ok := Config{Scope: scope(), Sources: []Source{Static{}}}
	for name, change := range map[string]func(*Config){
		"Service":       func(c *Config) { c.Service = "" },
		"Sources":       func(c *Config) { c.Sources = nil },
		"Sources[0]":    func(c *Config) { c.Sources = []Source{nil} },
		"SampleAllowed": func(c *Config) { c.SampleAllowed = 2 },
		"LogRate":       func(c *Config) { c.LogRate = -1 },
		"Peers":         func(c *Config) { c.Peers = map[string]string{"a": "x", "b": "x"} },
	} {
		cfg := ok
		change(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReauthorize(t *testing.T) {
	t.Parallel()
	src := newChanging()
	a := start(t, Config{Scope: scope(), Sources: []Source{src}})
	src.next <- Rules{Default: Allow}
	if err := a.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	web, verdicts, done := svc(t, "web"), make(chan error, 10), make(chan struct{})
	go func() {
		defer close(done)
		a.Reauthorize(ctx, func(allowed func(security.PeerID) error) { verdicts <- allowed(web) })
	}()
	for err := range verdicts {
		if err == nil {
			break
		}
	}
	src.next <- Rules{Default: Deny}
	for err := range verdicts {
		if err != nil {
			break
		}
	}
	cancel()
	<-done
}
