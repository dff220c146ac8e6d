package consul

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/internal/consultest/ctest"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/chain"
	"github.com/weft-mesh/weft/resolver/internal/bexpr"
	"github.com/weft-mesh/weft/resolver/internal/bexpr/bexprtest"
)

// send makes a request to an agent, and returns status and body.
func send(t testing.TB, a *consultest.Agent, method, path string, q url.Values, body string) (int, []byte) {
	t.Helper()
	u := url.URL{Scheme: "http", Host: a.HTTPAddr(), Path: path, RawQuery: q.Encode()}
	req, err := http.NewRequestWithContext(t.Context(), method, u.String(), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := testClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, text
}

var testClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

func must(t testing.TB, a *consultest.Agent, path, body string) {
	t.Helper()
	if code, text := send(t, a, http.MethodPut, path, nil, body); code != http.StatusOK {
		t.Fatalf("%s %s: %d %s", path, body, code, text)
	}
}

// populate registers instances of "native", which has some that are in the mesh and some
// that are not, and of "proxied", which has sidecars, with all that filters can read.
func populate(t testing.TB, a *consultest.Agent) {
	t.Helper()
	must(t, a, "/v1/config", `{"Kind":"proxy-defaults","Name":"global","Config":{"protocol":"http"},"MeshGateway":{"Mode":"local"},
		"Expose":{"Paths":[{"Path":"/metrics","ListenerPort":21500,"LocalPathPort":8080,"Protocol":"http"}]},
		"AccessLogs":{"Enabled":true,"Type":"file","Path":"/var/log/x"}}`)
	must(t, a, "/v1/config", `{"Kind":"service-defaults","Name":"proxied","Protocol":"http","EnvoyExtensions":[{"Name":"builtin/lua","Arguments":{
		"ProxyType":"connect-proxy","Listener":"inbound","Script":"function envoy_on_request(h) end"}}]}`)
	node := func(i int) string {
		return fmt.Sprintf(`"Node":"n%d","Address":"10.1.0.%d","ID":"40e4a748-2192-161a-0510-9bf59fe950b%d","NodeMeta":{"rack":"r%d","os":"linux"},"TaggedAddresses":{"lan":"10.1.0.%d","wan":"198.51.100.%d"}`,
			i%4, i%4, i%4, i%2, i%4, i%4)
	}
	statuses := []string{"passing", "warning", "critical"}
	for i := range 12 {
		checks := fmt.Sprintf(`[{"Node":"n%d","CheckID":"serf-%d","Name":"alive","Status":"passing"},
			{"Node":"n%d","CheckID":"c-%d","ServiceID":"native-%d","Name":"app %d","Status":%q,"Notes":"note","Output":"took %dms","Type":"ttl","Interval":"10s","Timeout":"1s","ExposedPort":%d}]`,
			i%4, i%4, i%4, i, i, i%3, statuses[i%3], i%5, 21500*(i%2))
		service := fmt.Sprintf(`{"ID":"native-%d","Service":"native","Port":%d,"Tags":["t%d","all"],"Meta":{"version":"1.%d","team":"a/b"},
			"Weights":{"Passing":%d,"Warning":1},"EnableTagOverride":%t,"Connect":{"Native":%t},
			"TaggedAddresses":{"wan":{"Address":"203.0.113.%d","Port":443},"lan":{"Address":"10.2.0.%d","Port":%d}}}`,
			i, 8000+i, i%3, i%4, 1+i%3, i%2 == 0, i%3 > 0, i, i, 8000+i)
		if i == 11 {
			service = fmt.Sprintf(`{"ID":"native-%d","Service":"native","Port":80,"Address":"bare.example"}`, i)
		}
		must(t, a, "/v1/catalog/register", fmt.Sprintf(`{%s,"Service":%s,"Checks":%s}`, node(i), service, checks))
	}
	for i := range 8 {
		must(t, a, "/v1/catalog/register", fmt.Sprintf(`{%s,"Service":{"ID":"proxied-%d","Service":"proxied","Port":%d,"Meta":{"version":"%d"}},
			"Check":{"Node":"n%d","CheckID":"p-%d","ServiceID":"proxied-%d","Name":"app","Status":%q}}`, node(i), i, 9000+i, i%2, i%4, i, i, statuses[i%3]))
		extra := []string{"", `,"Mode":"direct","MeshGateway":{"Mode":"remote"}`, `,"Mode":"transparent","TransparentProxy":{"OutboundListenerPort":15001,"DialedDirectly":true}`,
			`,"Expose":{"Checks":true,"Paths":[{"Path":"/health","ListenerPort":21600,"LocalPathPort":9000,"Protocol":"http2"}]},"AccessLogs":{"Enabled":true,"Type":"stdout","JSONFormat":"{}"}`,
			`,"Upstreams":[{"DestinationName":"db","LocalBindPort":9191,"Datacenter":"dc9"},{"DestinationType":"prepared_query","DestinationName":"q","LocalBindPort":9192,"LocalBindAddress":"127.0.0.2","MeshGateway":{"Mode":"none"}}]`,
			`,"EnvoyExtensions":[{"Name":"builtin/aws/lambda","Required":true,"EnvoyVersion":">1"}]`}[i%6]
		must(t, a, "/v1/catalog/register", fmt.Sprintf(`{%s,"Service":{"Kind":"connect-proxy","ID":"side-%d","Service":"proxied-sidecar-proxy","Port":%d,"Tags":["s%d"],"Meta":{"version":"%d"},
			"Proxy":{"DestinationServiceName":"proxied","DestinationServiceID":"proxied-%d","LocalServiceAddress":"127.0.0.1","LocalServicePort":%d%s}},
			"Check":{"Node":"n%d","CheckID":"s-%d","ServiceID":"side-%d","Name":"listens","Status":%q}}`,
			node(i), i, 21000+i, i%3, i%2, i, 9000+i, extra, i%4, i, i, statuses[(i+1)%3]))
	}
	must(t, a, "/v1/catalog/register", fmt.Sprintf(`{%s,"Service":{"ID":"self","Service":"proxied","Port":9900,"Connect":{"Native":true},"Meta":{"version":"9"}}}`, node(1)))
}

// filters is at least n of them about a service, each field and operator among them.
func filters(t testing.TB, a *consultest.Agent, path string, q url.Values, n int) []string {
	t.Helper()
	code, text := send(t, a, http.MethodGet, path, q, "")
	var in []*bexpr.Instance
	if err := json.Unmarshal(text, &in); err != nil || code != http.StatusOK || len(in) == 0 {
		t.Fatalf("%d, %d instances, %v", code, len(in), err)
	}
	g := bexprtest.New(rand.New(rand.NewPCG(uint64(n), uint64(len(path)))), in)
	fields := g.Fields()
	all := []string{"Service.Nope == 1", "Service.Locality.Region == eu", "Checks.Definition is empty", "Service.Proxy.Config is empty",
		"Service == web", "Service.Meta.a/b == c", `Service.Meta["version"].1 == 1`, `"/Service/ID" == a`, "Service.ID is nil", `any Service.Tags as t { t == "a" }`,
		`Service.Meta.team == "a/b" or "/x" in Service.Meta.team`, "Service.Port == http", "Service.Connect.Native == maybe", `Service.ID matches "("`, "Service.ID =="}
	for _, f := range fields {
		all = append(all, g.One(f), g.One(f))
	}
	for len(all) < n {
		all = append(all, g.Joined(fields))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// compare has a catalog mark the endpoints of a service by filters, and compares each
// with what Consul says: which instances, and which filters it refuses.
func compare(t *testing.T, c *Catalog, a *consultest.Agent, service, path string, q url.Values, count, n int) {
	t.Helper()
	all := filters(t, a, path+service, q, n)
	w := read(t, c, service)
	w.until("has all", known(count))
	if err := c.Mark(service, all); err != nil {
		t.Fatal(err)
	}
	snap := w.until("is marked", func(s *resolver.Snapshot) bool { return known(count)(s) && s.Endpoints[0].Marks != nil })
	refused, some := 0, 0
	for _, expr := range all {
		target := &chain.Target{Service: service, Datacenter: c.cfg.Datacenter, Peer: c.cfg.Peer, Subset: chain.Subset{Filter: expr}}
		f, bad := chain.NewFilter(target, chain.Residency{})
		var have, want []string
		for _, e := range snap.Endpoints {
			if f.Match(e) {
				have = append(have, e.ID.Node+"/"+e.ID.Instance)
			}
		}
		q := url.Values{"filter": {expr}, "dc": q["dc"], "peer": q["peer"]}
		code, text := send(t, a, http.MethodGet, path+service, q, "")
		if code != http.StatusOK {
			refused++
			if len(bad) != 1 || f.Remote() || len(have) > 0 || !strings.Contains(string(text), "boolean expression") {
				t.Errorf("%s: Consul refuses it, %d %s; here %v, %v", expr, code, text, bad, have)
			}
			continue
		}
		var in []bexpr.Instance
		if err := json.Unmarshal(text, &in); err != nil {
			t.Fatal(err)
		}
		for _, x := range in {
			want = append(want, x.Node.Node+"/"+x.Service.ID)
		}
		slices.Sort(want)
		slices.Sort(have)
		if !slices.Equal(want, have) {
			t.Errorf("%s: %v, Consul says %v", expr, have, want)
		}
		if len(want) > 0 && len(want) < count {
			some++
		}
	}
	t.Logf("%s: %d filters, %d refused by Consul, %d select some of %d endpoints", path+service, len(all), refused, some, count)
	if some < len(all)/8 || refused < 10 {
		t.Error("the filters say too little")
	}
}

// What a filter selects is what Consul's own filter selects, for each field, in the
// lists of a cluster, of another datacenter and of a peer.
func TestMarksAsConsul(t *testing.T) {
	t.Parallel()
	a := ctest.Start(t, consultest.Config{})
	populate(t, a)
	t.Run("service", func(t *testing.T) {
		t.Parallel()
		compare(t, open(t, at(a)), a, "native", pathService, nil, 12, 700)
	})
	t.Run("sidecars", func(t *testing.T) {
		t.Parallel()
		compare(t, open(t, at(a)), a, "proxied", pathConnect, nil, 9, 700)
	})
}

func TestMarksAsConsulElsewhere(t *testing.T) {
	t.Parallel()
	agents := ctest.Federate(t, consultest.Config{}, "aws", "gcp")
	populate(t, agents[1])
	cfg := at(agents[0])
	cfg.Datacenter = "gcp"
	c := open(t, cfg)
	for service, path := range map[string]string{"native": pathService, "proxied": pathConnect} {
		t.Run(service, func(t *testing.T) {
			t.Parallel()
			compare(t, c, agents[0], service, path, url.Values{"dc": {"gcp"}}, map[string]int{"native": 12, "proxied": 9}[service], 350)
		})
	}
}

func TestMarksAsConsulOfPeer(t *testing.T) {
	t.Parallel()
	a, b := ctest.Start(t, consultest.Config{}), ctest.Start(t, consultest.Config{Datacenter: "dc2"})
	populate(t, b)
	token, _, err := b.Client().Peerings().GenerateToken(t.Context(), api.PeeringGenerateTokenRequest{PeerName: "home"}, nil)
	if err == nil {
		_, _, err = a.Client().Peerings().Establish(t.Context(), api.PeeringEstablishRequest{PeerName: "away", PeeringToken: token.PeeringToken}, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	must(t, b, "/v1/config", `{"Kind":"exported-services","Name":"default","Services":[{"Name":"native","Consumers":[{"Peer":"home"}]}]}`)
	cfg := at(a)
	cfg.Peer = "away"
	c := open(t, cfg)
	read(t, c, "native").until("has all", known(12))
	compare(t, c, a, "native", pathService, url.Values{"peer": {"away"}}, 12, 350)
}
