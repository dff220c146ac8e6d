package chain

import (
	"strings"
	"testing"
)

func TestExplain(t *testing.T) {
	t.Parallel()
	web, _ := sample(t, webChain)
	api, _ := sample(t, apiChain)
	consul := Options{Profile: ConsulProfile()}
	draw := 0.95
	for _, tc := range []struct {
		name string
		c    *Chain
		opt  Options
		req  Recorded
		want string
	}{
		{"a route", web, consul, Recorded{Path: "/admin/x", Query: "env=qa", Header: map[string][]string{"x-debug": {"1"}, "x-p": {"yes"}}}, `
service web: GET /admin/x?env=qa
  route 0: path /admin…, method GET or POST, header x-debug = 1, not header x-user like ^a.*, header x-p present, query env = qa: matches
  3 more routes are not looked at
  target admin.default.default.aws
  failover: none
  path becomes //x
  request header: remove x-secret
  request header: add x-from: web
  response header: remove server
  timeout 4s, by the chain
  idle timeout 30s
  up to 4 attempts, repeated on 5xx,reset,connect-failure,retriable-status-codes 502,503
`},
		{"a draw that is known", web, consul, Recorded{Path: "/x", Draw: &draw}, `
service web: GET /x
  route 0: path /admin…, method GET or POST, header x-debug = 1, not header x-user like ^a.*, header x-p present, query env = qa: no, the path is /x
  route 1: path /v2 in any case: no, the path is /x
  route 2: path like ^/r/[0-9]+$: no, the path is /x
  route 3: any path: matches
  splitter web.default.default: drawn at 95.00 %
    v1.web.default.default.aws: weight 90.00 %, gets 90.00 %
  * v2.web.default.default.aws: weight 10.00 %, gets 10.00 %
  target v2.web.default.default.aws, where Service.Meta.version matches "^2\\.", passing only
  failover 1: v1.web.default.default.aws, where Service.Meta.version matches "^1\\."
  request header: add x-canary: 1
  timeout 15s, by profile consul
  connect timeout 3s
  balanced by least_request
`},
		{"a draw that is not known", web, consul, Recorded{Method: "PUT", Path: "/admin", Header: map[string][]string{"x-debug": {"1", "2"}}}, `
service web: PUT /admin
  route 0: path /admin…, method GET or POST, header x-debug = 1, not header x-user like ^a.*, header x-p present, query env = qa: no, the method is PUT
  route 1: path /v2 in any case: no, the path is /admin
  route 2: path like ^/r/[0-9]+$: no, the path is /admin
  route 3: any path: matches
  splitter web.default.default: drawn for each call
    v1.web.default.default.aws: weight 90.00 %, gets 90.00 %
    v2.web.default.default.aws: weight 10.00 %, gets 10.00 %
  target: one of the above
`},
		{"hashing", api, Options{}, Recorded{Method: "POST", Path: "/a.B/C", Header: map[string][]string{"X-User-Id": {"7"}}}, `
service api: POST /a.B/C
  target api.default.default.aws
  failover 1: api.default.default.gcp
  failover 2: api.default.default.external.partner
  failover 3: api-backup.default.default.aws
  timeout 30s, by profile safe
  connect timeout 5s
  balanced by ring_hash, by key 7aedddb772826587
`},
		{"hashing by a cookie to be made", api, Options{}, Recorded{Path: "/"}, `
service api: GET /
  target api.default.default.aws
  failover 1: api.default.default.gcp
  failover 2: api.default.default.external.partner
  failover 3: api-backup.default.default.aws
  timeout 30s, by profile safe
  connect timeout 5s
  balanced by ring_hash, by a new cookie sid
`},
		{"an active subset", split(90, 10), Options{Policy: Policy{Active: "v2"}}, Recorded{Path: "/"}, `
service web: GET /
  splitter web: one subset is active: v2
    v1.web: weight 90.00 %, gets 0.00 %, another subset is active
  * v2.web: weight 10.00 %, gets 100.00 %, its subset is active
  target v2.web
  failover: none
  timeout 30s, by profile safe
  connect timeout 5s
`},
		{"weight 0 and the caller's key", split(100, 0), Options{}, Recorded{Path: "/", Key: "k"}, `
service web: GET /
  splitter web: by the caller's sticky key
  * v1.web: weight 100.00 %, gets 100.00 %
    v2.web: weight 0.00 %, gets 0.00 %, its weight is 0
  target v1.web
  failover: none
  timeout 30s, by profile safe
  connect timeout 5s
`},
		{"no route", routes(&HTTPMatch{Header: []HeaderMatch{{Name: "Authorization", Exact: "Bearer x"}}}), Options{},
			Recorded{Path: "*", Header: map[string][]string{"authorization": {"Bearer secret"}}}, `
service web: GET *
  route 0: any path, header authorization = Bearer x: no, the path is *
  route 1: any path: no, the path is *
  target: none, no route matches
`},
		{"no secrets", routes(&HTTPMatch{Header: []HeaderMatch{{Name: "Authorization", Exact: "Bearer x"}}}), Options{},
			Recorded{Path: "/", Header: map[string][]string{"authorization": {"Bearer secret"}}}, `
service web: GET /
  route 0: any path, header authorization = Bearer x: no, header authorization is Bearer …
  route 1: any path: matches
  target rest
  failover: none
  timeout 30s, by profile safe
  connect timeout 5s
`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			e, _, err := New(tc.c, tc.opt)
			if err != nil {
				t.Fatal(err)
			}
			x := e.Explain(tc.req.Request())
			if got := x.String(); got != strings.TrimPrefix(tc.want, "\n") {
				t.Errorf("got\n%s\nwant%s", got, tc.want)
			}
			if again := e.Explain(tc.req.Request()).String(); again != x.String() {
				t.Errorf("explained otherwise the second time:\n%s", again)
			}
			if p := x.Decision.Plan; p != nil && p != e.Route(tc.req.Request()).Plan {
				t.Error("decided otherwise than explained")
			}
		})
	}
}

func TestExplainSticky(t *testing.T) {
	t.Parallel()
	e := evaluator(t, split(50, 50), Options{Policy: Policy{Sticky: []string{"cookie:sid"}}})
	r := Recorded{Header: map[string][]string{"cookie": {"sid=1"}}}.Request()
	x := e.Explain(r)
	if x.How != "by the sticky key of cookie:sid" || x.Decision.Plan != e.Route(r).Plan {
		t.Errorf("explained as\n%s", x)
	}
}
