package chain

import (
	"fmt"
	"net/http"
	"reflect"
	"testing"
	"time"
)

// The real chains, decided as their entries say.
func TestRealChains(t *testing.T) {
	t.Parallel()
	web, api, legacy, tcp, def := webChain, apiChain, legacyChain, tcpChain, defaultChain
	admin := Recorded{Method: "GET", Path: "/admin/x", Query: "env=qa", Header: map[string][]string{"x-debug": {"1"}, "x-user": {"bob"}, "x-p": {""}}}
	noAdmin := admin
	noAdmin.Header = map[string][]string{"x-debug": {"1"}, "x-user": {"bob", "alice"}, "x-p": {""}}
	for _, tc := range []struct {
		name, chain string
		req         Recorded
		draw        float64
		target      string
		failover    string
		connect     time.Duration
		timeout     time.Duration
	}{
		{"admin", web, admin, 0, "admin.default.default.aws", "[]", 0, 4 * time.Second},
		{"a second x-user begins with a", web, noAdmin, 0, "v1.web.default.default.aws", "[v1.web.default.default.gcp v1.web.default.default.azure]", 3 * time.Second, 12 * time.Second},
		{"exact in any case", web, Recorded{Path: "/V2"}, 0, "v2.web.default.default.aws", "[v1.web.default.default.aws]", 3 * time.Second, 2 * time.Second},
		{"regex", web, Recorded{Path: "/r/7"}, 0.95, "v2.web.default.default.aws", "[v1.web.default.default.aws]", 3 * time.Second, 12 * time.Second},
		{"rest", web, Recorded{Path: "/r/x"}, 0.89, "v1.web.default.default.aws", "[v1.web.default.default.gcp v1.web.default.default.azure]", 3 * time.Second, 12 * time.Second},
		{"failover to peer and service", api, Recorded{}, 0, "api.default.default.aws", "[api.default.default.gcp api.default.default.external.partner api-backup.default.default.aws]", 5 * time.Second, 0},
		{"redirect", legacy, Recorded{}, 0, "api.default.default.azure", "[api.default.default.gcp api.default.default.external.partner api-backup.default.default.azure]", 5 * time.Second, 0},
		{"tcp", tcp, Recorded{}, 0, "v1.web.default.default.aws", "[v1.web.default.default.gcp v1.web.default.default.azure]", 7 * time.Second, 12 * time.Second},
		{"no entries", def, Recorded{}, 0, "nothing.default.default.aws", "[]", 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c, _ := sample(t, tc.chain)
			e, _, err := New(c, Options{})
			if err != nil {
				t.Fatal(err)
			}
			tc.req.Draw = &tc.draw
			d := e.Route(tc.req.Request())
			var failover []string
			for _, f := range d.Failover {
				failover = append(failover, f.ID)
			}
			if d.Target.ID != tc.target || fmt.Sprint(failover) != tc.failover || d.ConnectTimeout != tc.connect || d.RequestTimeout != tc.timeout {
				t.Errorf("got %s, %v, connect %v, timeout %v", d.Target.ID, failover, d.ConnectTimeout, d.RequestTimeout)
			}
		})
	}
}

func TestRealActions(t *testing.T) {
	t.Parallel()
	c, _ := sample(t, webChain)
	e, bad, err := New(c, Options{Profile: ConsulProfile()})
	if err != nil {
		t.Fatal(err)
	}
	var fields []string
	for _, p := range bad {
		fields = append(fields, p.Field)
	}
	want := []string{"Routes[0].Destination.IdleTimeout", "Routes[0].Destination.RequestHeaders.Set[x-set]", "RequestTimeout"}
	if !reflect.DeepEqual(fields, want) {
		t.Errorf("problems with %q, want %q", fields, want)
	}
	admin := e.Route(Recorded{Method: "GET", Path: "/admin/x", Query: "env=qa", Header: map[string][]string{"x-debug": {"1"}, "x-user": {"bob"}, "x-p": {""}}}.Request())
	if got := admin.RequestEdits.String(); got != "remove x-secret\nadd x-from: web\n" {
		t.Errorf("request edits\n%s", got)
	}
	if got := admin.ResponseEdits.String(); got != "remove server\n" {
		t.Errorf("response edits\n%s", got)
	}
	if r := admin.Retry; r.Attempts != 4 || r.On.String() != "5xx,reset,connect-failure,retriable-status-codes" || fmt.Sprint(r.Codes) != "[502 503]" {
		t.Errorf("retry %+v %s", r, r.On)
	}
	if p := admin.Rewrite("/admin/x"); p != "//x" {
		t.Errorf("rewritten to %s", p)
	}
	canary := e.Route(&Request{Path: "/", Draw: 0.95, HasDraw: true})
	if canary.RequestEdits.String() != "add x-canary: 1\n" || canary.RequestTimeout != 0 || e.Timeout(canary.Plan) != 15*time.Second {
		t.Errorf("canary: %s, timeout %v", canary.RequestEdits, e.Timeout(canary.Plan))
	}
	if lb := canary.LoadBalancer; lb.Policy != "least_request" || lb.LeastRequestConfig.ChoiceCount != 3 {
		t.Errorf("load balancer %+v", lb)
	}
}

func TestTimeouts(t *testing.T) {
	t.Parallel()
	at := func(route, resolver time.Duration) *Chain {
		c := routes(&HTTPMatch{PathPrefix: "/a"})
		c.Nodes[c.StartNode].Routes[0].Definition.Destination.RequestTimeout = route
		c.Nodes["resolver:r00"].Resolver.RequestTimeout = resolver
		return c
	}
	direct := at(0, 2*time.Second)
	direct.StartNode = "resolver:r00"
	for _, tc := range []struct {
		name         string
		c            *Chain
		consul, safe time.Duration
	}{
		{"nobody says", at(0, 0), 15 * time.Second, 30 * time.Second},
		{"route", at(time.Second, 0), time.Second, time.Second},
		{"route before resolver", at(time.Second, 2*time.Second), time.Second, time.Second},
		{"resolver behind a router", at(0, 2*time.Second), 15 * time.Second, 2 * time.Second},
		{"resolver alone", direct, 2 * time.Second, 2 * time.Second},
		{"off", at(-1, 0), 0, 0},
		{"off, whatever the resolver says", at(-1, time.Second), 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for p, want := range map[string]time.Duration{NameConsul: tc.consul, NameSafe: tc.safe} {
				profile, _ := ProfileOf(p)
				e, _, err := New(tc.c, Options{Profile: profile})
				if err != nil {
					t.Fatal(err)
				}
				d := e.Route(&Request{Path: "/a"})
				if got := e.Timeout(d.Plan); got != want {
					t.Errorf("%s: %v, want %v", p, got, want)
				}
			}
		})
	}
}

func TestProfileFillsIn(t *testing.T) {
	t.Parallel()
	c := routes(&HTTPMatch{PathPrefix: "/said"}, &HTTPMatch{PathPrefix: "/num"})
	c.Nodes["resolver:r00"].Resolver.ConnectTimeout = time.Second
	c.Nodes[c.StartNode].Routes[0].Definition.Destination.RetryOn = []string{"reset"}
	c.Nodes[c.StartNode].Routes[1].Definition.Destination.NumRetries = 5
	c.Nodes["resolver:rest"].Resolver.Default = true
	for _, tc := range []struct {
		path, profile string
		connect       time.Duration
		attempts      int
	}{
		{"/said", NameConsul, time.Second, 2},
		{"/said", NameSafe, time.Second, 2},
		{"/num", NameSafe, 5 * time.Second, 1},
		{"/", NameConsul, 5 * time.Second, 1},
		{"/", NameSafe, 3 * time.Second, 3},
	} {
		e, _, err := New(c, Options{Policy: Policy{Profile: tc.profile}})
		if err != nil {
			t.Fatal(err)
		}
		p := e.Route(&Request{Path: tc.path}).Plan
		if e.ConnectTimeout(p) != tc.connect || e.Attempts(p) != tc.attempts {
			t.Errorf("%s, %s: connect %v, %d attempts", tc.path, tc.profile, e.ConnectTimeout(p), e.Attempts(p))
		}
	}
}

func TestRewrite(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		match               HTTPMatch
		rewrite, path, want string
	}{
		{HTTPMatch{PathPrefix: "/a"}, "/b", "/a/c", "/b/c"},
		{HTTPMatch{PathPrefix: "/a"}, "/", "/a/c", "//c"},
		{HTTPMatch{PathPrefix: "/a/"}, "/", "/a/c", "/c"},
		{HTTPMatch{PathPrefix: "/A", CaseInsensitive: true}, "/b", "/a/c", "/b/c"},
		{HTTPMatch{PathExact: "/a"}, "/b", "/a", "/b"},
		{HTTPMatch{PathPrefix: "/"}, "/v1/", "/c", "/v1/c"},
		{HTTPMatch{PathPrefix: "/a"}, "", "/a/c", "/a/c"},
		{HTTPMatch{PathPrefix: "/old.Svc/"}, "/new.Svc/", "/old.Svc/Get", "/new.Svc/Get"},
	} {
		c := routes(&tc.match)
		c.Nodes[c.StartNode].Routes[0].Definition.Destination.PrefixRewrite = tc.rewrite
		d := evaluator(t, c, Options{}).Route(&Request{Path: tc.path})
		if got := d.Rewrite(tc.path); got != tc.want {
			t.Errorf("%+v to %q: %q becomes %q, want %q", tc.match, tc.rewrite, tc.path, got, tc.want)
		}
	}
}

// The order of Envoy: the split's edits first; of each remove, set, add.
func TestEditOrder(t *testing.T) {
	t.Parallel()
	c := routes(&HTTPMatch{PathPrefix: "/a"})
	s := split(100)
	for k, n := range s.Nodes {
		c.Nodes[k] = n
	}
	for k, target := range s.Targets {
		c.Targets[k] = target
	}
	rt := c.Nodes[c.StartNode].Routes[0]
	rt.NextNode = "splitter:web"
	rt.Definition.Destination.RequestHeaders = &HeaderModifiers{
		Add: map[string]string{"x-b": "route", "x-a": "route"}, Set: map[string]string{"X-Who": "route", "Host": "inner"}, Remove: []string{"x-old"},
	}
	s.Nodes["splitter:web"].Splits[0].Definition.RequestHeaders = &HeaderModifiers{
		Add: map[string]string{"x-a": "split"}, Set: map[string]string{"x-who": "split"}, Remove: []string{"x-a"},
	}
	d := evaluator(t, c, Options{}).Route(&Request{Path: "/a"})
	want := "remove x-a\nset x-who: split\nadd x-a: split\nremove x-old\nset host: inner\nset x-who: route\nadd x-a: route\nadd x-b: route\n"
	if got := d.RequestEdits.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	h := http.Header{"X-A": {"caller"}, "X-Old": {"1"}, "X-Keep": {"1"}}
	if host := d.RequestEdits.ApplyHTTP(h); host != "inner" || d.RequestEdits.Host() != "inner" {
		t.Errorf("host %q", host)
	}
	if w := (http.Header{"X-A": {"split", "route"}, "X-B": {"route"}, "X-Who": {"route"}, "X-Keep": {"1"}}); !reflect.DeepEqual(h, w) {
		t.Errorf("got %v, want %v", h, w)
	}
}

func TestRetryRule(t *testing.T) {
	t.Parallel()
	reset, unconnected, refused := Reply{Reset: true}, Reply{NotConnected: true}, Reply{Refused: true}
	all := map[string]Reply{"reset": reset, "unconnected": unconnected, "refused": refused, "limited": {Status: 503, RateLimited: true}}
	for _, s := range []int{200, 404, 409, 429, 500, 501, 502, 503, 504, 599} {
		all[fmt.Sprint(s)] = Reply{Status: s}
	}
	for _, c := range []int{1, 2, 4, 8, 13, 14} {
		all[fmt.Sprint("code ", c)] = Reply{Status: 200, Code: c}
	}
	for _, tc := range []struct {
		on    RetryOn
		codes []uint32
		want  []string
	}{
		{0, nil, nil},
		{On5xx, nil, []string{"500", "501", "502", "503", "504", "599", "reset", "unconnected", "refused"}},
		{OnGatewayError, nil, []string{"502", "503", "504", "reset", "unconnected", "refused"}},
		{OnReset, nil, []string{"reset", "unconnected", "refused"}},
		{OnConnectFailure, nil, []string{"unconnected"}},
		{OnRefusedStream, nil, []string{"refused"}},
		{OnEnvoyRateLimited, nil, []string{"limited"}},
		{OnRetriable4xx, nil, []string{"409"}},
		{OnStatusCodes, []uint32{200, 404}, []string{"200", "404", "code 1", "code 2", "code 4", "code 8", "code 13", "code 14"}},
		{OnStatusCodes, []uint32{429}, []string{"429"}},
		{OnCancelled, nil, []string{"code 1"}},
		{OnDeadlineExceeded, nil, []string{"code 4"}},
		{OnInternal, nil, []string{"code 13"}},
		{OnResourceExhausted, nil, []string{"code 8"}},
		{OnUnavailable | OnCancelled, nil, []string{"code 1", "code 14"}},
	} {
		t.Run(tc.on.String(), func(t *testing.T) {
			t.Parallel()
			want := map[string]bool{}
			for _, w := range tc.want {
				want[w] = true
			}
			for name, reply := range all {
				if got := (&RetryRule{On: tc.on, Codes: tc.codes}).Again(reply); got != want[name] {
					t.Errorf("%s: %v, want %v", name, got, want[name])
				}
			}
		})
	}
}

func TestRetryDefaults(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		d        RouteDestination
		attempts int
		on       string
	}{
		{RouteDestination{}, 0, ""},
		{RouteDestination{RetryOnConnectFailure: true}, 2, "connect-failure"},
		{RouteDestination{RetryOn: []string{"unavailable"}}, 2, "unavailable"},
		{RouteDestination{RetryOnStatusCodes: []uint32{418}}, 2, "retriable-status-codes"},
		{RouteDestination{NumRetries: 3, RetryOn: []string{"reset", "reset"}}, 4, "reset"},
		{RouteDestination{NumRetries: 1, RetryOn: []string{"connect-failure"}, RetryOnConnectFailure: true}, 2, "connect-failure"},
	} {
		c := routes(&HTTPMatch{PathPrefix: "/a"})
		*c.Nodes[c.StartNode].Routes[0].Definition.Destination = tc.d
		r := evaluator(t, c, Options{}).Route(&Request{Path: "/a"}).Retry
		switch {
		case r == nil && tc.attempts == 0:
		case r == nil || r.Attempts != tc.attempts || r.On.String() != tc.on:
			t.Errorf("%+v: %+v", tc.d, r)
		}
	}
}
