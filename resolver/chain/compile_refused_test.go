package chain

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// http is a service-defaults entry that makes web~ and the other names HTTP.
func httpDefaults(names ...string) (out []string) {
	for _, n := range names {
		out = append(out, fmt.Sprintf(`{"Kind": "service-defaults", "Name": %q, "Protocol": "http"}`, n))
	}
	return out
}

func resolverEntry(rest string) []string {
	return []string{`{"Kind": "service-resolver", "Name": "web~", ` + rest + `}`}
}

func routeEntry(rest string) []string {
	return append(httpDefaults("web~"), `{"Kind": "service-router", "Name": "web~", "Routes": [`+rest+`]}`)
}

func splitEntry(rest string) []string {
	return append(httpDefaults("web~", "api~"), `{"Kind": "service-splitter", "Name": "web~", "Splits": [`+rest+`]}`)
}

// refusals are entries of which the last must be refused, here and by Consul. A ~
// in a name becomes the number of the case.
var refusals = []struct {
	field   string // of the error
	entries []string
}{
	{"Name", []string{`{"Kind": "service-resolver", "Name": ""}`}},
	{"Name", []string{`{"Kind": "proxy-defaults", "Name": "web~"}`}},
	{"", []string{`{"Kind": "service-magic", "Name": "web~"}`}},
	{"", []string{`{"Name": "web~"}`}},
	{"Namespace", []string{`{"Kind": "service-resolver", "Name": "web~", "Namespace": "other"}`}},
	{`Meta["k"]`, []string{`{"Kind": "service-router", "Name": "web~", "Meta": {"k": "` + strings.Repeat("v", 513) + `"}}`}},

	{"Protocol", []string{`{"Kind": "service-defaults", "Name": "web~", "Protocol": "smtp"}`}},
	{"MutualTLSMode", []string{`{"Kind": "service-defaults", "Name": "web~", "MutualTLSMode": "permissive"}`}},
	{"RateLimits", []string{`{"Kind": "service-defaults", "Name": "web~", "RateLimits": {"InstanceLevel": {"RequestsPerSecond": 5}}}`}},
	{"Destination", []string{`{"Kind": "service-defaults", "Name": "web~", "UpstreamConfig": {}, "Destination": {"Addresses": ["a.example"], "Port": 1}}`}},
	{"Destination.Port", []string{`{"Kind": "service-defaults", "Name": "web~", "Destination": {"Addresses": ["a.example"], "Port": 70000}}`}},
	{"Destination.Addresses[1]", []string{`{"Kind": "service-defaults", "Name": "web~", "Destination": {"Addresses": ["10.0.0.1", "*.example"], "Port": 1}}`}},
	{"BalanceInboundConnections", []string{`{"Kind": "service-defaults", "Name": "web~", "BalanceInboundConnections": "some"}`}},
	{"UpstreamConfig.Overrides[0].Name", []string{`{"Kind": "service-defaults", "Name": "web~", "UpstreamConfig": {"Overrides": [{"ConnectTimeoutMs": 1}]}}`}},
	{"UpstreamConfig.Defaults.Name", []string{`{"Kind": "service-defaults", "Name": "web~", "UpstreamConfig": {"Defaults": {"Name": "api"}}}`}},
	{"UpstreamConfig.Defaults.Limits.MaxPendingRequests", []string{`{"Kind": "service-defaults", "Name": "web~", "UpstreamConfig": {"Defaults": {"Limits": {"MaxPendingRequests": -1}}}}`}},
	{"UpstreamConfig.Defaults.PassiveHealthCheck.Interval", []string{`{"Kind": "service-defaults", "Name": "web~", "UpstreamConfig": {"Defaults": {"PassiveHealthCheck": {"Interval": "-1s"}}}}`}},
	{"UpstreamConfig.Defaults.PassiveHealthCheck.MaxEjectionPercent", []string{`{"Kind": "service-defaults", "Name": "web~", "UpstreamConfig": {"Defaults": {"PassiveHealthCheck": {"MaxEjectionPercent": 101}}}}`}},

	{"", []string{`{"Kind": "service-router", "Name": "web~"}`}}, // over tcp
	{"Routes[0].Match.HTTP.PathExact", routeEntry(`{"Match": {"HTTP": {"PathExact": "a"}}}`)},
	{"Routes[0].Match.HTTP", routeEntry(`{"Match": {"HTTP": {"PathExact": "/a", "PathPrefix": "/"}}}`)},
	{"Routes[1].Match.HTTP.Header[0]", routeEntry(`{}, {"Match": {"HTTP": {"Header": [{"Name": "x", "Exact": "a", "Regex": "b"}]}}}`)},
	{"Routes[0].Match.HTTP.Header[0].Name", routeEntry(`{"Match": {"HTTP": {"Header": [{"Exact": "a"}]}}}`)},
	{"Routes[0].Match.HTTP.QueryParam[0]", routeEntry(`{"Match": {"HTTP": {"QueryParam": [{"Name": "x"}]}}}`)},
	{"Routes[0].Match.HTTP.Methods[1]", routeEntry(`{"Match": {"HTTP": {"Methods": ["GET", "get"]}}}`)},
	{"Routes[0].Match.HTTP.CaseInsensitive", routeEntry(`{"Match": {"HTTP": {"CaseInsensitive": "maybe"}}}`)},
	{"Routes[0].Destination.PrefixRewrite", routeEntry(`{"Destination": {"PrefixRewrite": "/"}}`)},
	{"Routes[0].Destination.RetryOn[0]", routeEntry(`{"Destination": {"RetryOn": ["always"]}}`)},
	{"Routes[0].Destination.RequestTimeout", routeEntry(`{"Destination": {"RequestTimeout": "fast"}}`)},
	{"Routes[0].Destination.NumRetries", routeEntry(`{"Destination": {"NumRetries": "many"}}`)},
	{"Routes[0].Destination", routeEntry(`{"Destination": {"ServiceSubset": "v9"}}`)},
	{"Protocol", routeEntry(`{"Destination": {"Service": "other~"}}`)}, // which speaks tcp

	{"Splits", splitEntry(``)},
	{"Splits", splitEntry(`{"Weight": 99.98}`)},
	{"Splits[1]", splitEntry(`{"Weight": 50}, {"Weight": 50, "Service": "web~"}`)},
	{"Splits[0]", splitEntry(`{"Weight": 100, "ServiceSubset": "v9"}`)},
	{"Splits[0].Weight", splitEntry(`{"Weight": "half"}`)},
	{"Splits", append(splitEntry(`{"Weight": 100, "Service": "api~"}`), `{"Kind": "service-splitter", "Name": "api~", "Splits": [{"Weight": 100, "Service": "web~"}]}`)},

	{`Subsets["V1"]`, resolverEntry(`"Subsets": {"V1": {}}`)},
	{`Subsets["v1"].Filter`, resolverEntry(`"Subsets": {"v1": {"Filter": "Service.Meta.v = 1"}}`)},
	{"DefaultSubset", resolverEntry(`"DefaultSubset": "v1"`)},
	{"PrioritizeByLocality", resolverEntry(`"PrioritizeByLocality": {"Mode": "failover"}`)},
	{"ConnectTimeout", resolverEntry(`"ConnectTimeout": -1`)},
	{"RequestTimeout", resolverEntry(`"RequestTimeout": "-1s"`)},
	{"RequestTimeout", resolverEntry(`"RequestTimeout": "1s", "request_timeout": "1s"`)},
	{"Redirect", resolverEntry(`"Redirect": {}`)},
	{"Redirect", resolverEntry(`"Redirect": {"Service": "api~"}, "Failover": {"*": {"Service": "api~"}}`)},
	{"Redirect.Peer", resolverEntry(`"Redirect": {"Peer": "gcp"}`)},
	{"Redirect.Datacenter", resolverEntry(`"Redirect": {"Service": "api~", "Peer": "gcp", "Datacenter": "dc2"}`)},
	{"Redirect.ServiceSubset", resolverEntry(`"Redirect": {"ServiceSubset": "v1"}`)},
	{"Redirect.SamenessGroup", resolverEntry(`"Redirect": {"SamenessGroup": "g"}`)},
	{"Redirect.Partition", resolverEntry(`"Redirect": {"Service": "api~", "Partition": "p"}`)},
	{"Redirect", append([]string{`{"Kind": "service-resolver", "Name": "api~", "Redirect": {"Service": "web~"}}`}, resolverEntry(`"Redirect": {"Service": "api~"}`)...)},
	{`Failover["v1"]`, resolverEntry(`"Failover": {"v1": {"Service": "api~"}}`)},
	{`Failover["*"]`, resolverEntry(`"Failover": {"*": {}}`)},
	{`Failover["*"].Policy.Mode`, resolverEntry(`"Failover": {"*": {"Service": "api~", "Policy": {"Mode": "sequential"}}}`)},
	{`Failover["*"].Datacenters`, resolverEntry(`"Failover": {"*": {"Datacenters": ["dc2", ""]}}`)},
	{`Failover["*"].Datacenters`, resolverEntry(`"Failover": {"*": {"Datacenters": ["dc2"], "Targets": [{"Peer": "gcp"}]}}`)},
	{`Failover["*"].Targets[0].Datacenter`, resolverEntry(`"Failover": {"*": {"Targets": [{"Peer": "gcp", "Datacenter": "dc2"}]}}`)},
	{`Failover["*"].Targets[0].Namespace`, resolverEntry(`"Failover": {"*": {"Targets": [{"Service": "api~", "Namespace": "n"}]}}`)},
	{`Failover["*"].ServiceSubset`, resolverEntry(`"Failover": {"*": {"ServiceSubset": "v1"}}`)},
	{`Failover["*"]`, resolverEntry(`"Failover": {"*": {"Service": "api~", "ServiceSubset": "v1"}}`)},
	{"LoadBalancer.Policy", resolverEntry(`"LoadBalancer": {"Policy": "best"}`)},
	{"LoadBalancer.RingHashConfig", resolverEntry(`"LoadBalancer": {"Policy": "maglev", "RingHashConfig": {}}`)},
	{"LoadBalancer.HashPolicies", resolverEntry(`"LoadBalancer": {"HashPolicies": [{"SourceIP": true}]}`)},
	{"LoadBalancer.HashPolicies[0].CookieConfig.TTL", resolverEntry(`"LoadBalancer": {"Policy": "maglev", "HashPolicies": [{"Field": "cookie", "FieldValue": "c", "CookieConfig": {"Session": true, "TTL": 1}}]}`)},
	{"LoadBalancer.HashPolicies[0].Field", resolverEntry(`"LoadBalancer": {"Policy": "maglev", "HashPolicies": [{"Field": "moon", "FieldValue": "c"}]}`)},
	{"Subsets", append([]string{`{"Kind": "service-defaults", "Name": "web~", "ExternalSNI": "x.example"}`}, resolverEntry(`"Subsets": {"v1": {}}`)...)},
	{"Subsets", resolverEntry(`"Subsets": [1, 2]`)},
	{"Redirect", resolverEntry(`"Redirect": "api"`)},
}

func TestRefusedHereAndByConsul(t *testing.T) {
	t.Parallel()
	consul := newConsulSide(t, "")
	defer consul.close()
	for i, tc := range refusals {
		set := &EntrySet{}
		for j, text := range tc.entries {
			text = strings.ReplaceAll(text, "~", strconv.Itoa(i))
			last := j == len(tc.entries)-1
			status, reply := consul.call(t, "PUT", "/v1/config", text)
			next, err := put(set, text)
			if (status == 200) == last {
				t.Errorf("%s: Consul says %d %s", text, status, reply)
			}
			if (err == nil) == last {
				t.Errorf("%s: here: %v", text, err)
			}
			var e *EntryError
			if last && (!errors.As(err, &e) || e.Field != tc.field || e.Why == "") {
				t.Errorf("%s: error %v is not of field %q", text, err, tc.field)
			}
			if err == nil {
				set = next
			}
		}
	}
}

// TestDifferences has what the package comment lists as other than in Consul.
func TestDifferences(t *testing.T) {
	t.Parallel()
	consul := newConsulSide(t, "")
	defer consul.close()
	for i, tc := range []struct {
		name    string
		entries []string
		consul  bool   // accepts the last
		here    string // field of the error; empty: accepted
		problem string // field of the problem; empty: none
	}{
		{"unknown field", resolverEntry(`"Colour": "blue"`), false, "", "Colour"},
		{"default namespace", resolverEntry(`"Namespace": "default", "Partition": "default"`), false, "", ""},
		{"newer header match", routeEntry(`{"Match": {"HTTP": {"Header": [{"Name": "x", "Contains": "a", "IgnoreCase": true}]}}}`), false, "", ""},
		{"regular expression", routeEntry(`{"Match": {"HTTP": {"PathRegex": "(?<=a)b"}}}`), true, "Routes[0].Match.HTTP.PathRegex", ""},
		{"gateway mode", []string{`{"Kind": "service-defaults", "Name": "web~", "MeshGateway": {"Mode": "fast"}}`}, true, "MeshGateway.Mode", ""},
		{"negative weight", splitEntry(`{"Weight": -1}, {"Weight": 101, "Service": "api~"}`), true, "Splits[0].Weight", ""},
		{"fraction", routeEntry(`{"Destination": {"NumRetries": 2.7}}`), true, "Routes[0].Destination.NumRetries", ""},
		{"negative count", routeEntry(`{"Destination": {"NumRetries": -1}}`), true, "Routes[0].Destination.NumRetries", ""},
		{"name", []string{`{"Kind": "service-resolver", "Name": "a b~"}`}, true, "Name", ""},
		{"extensions", []string{`{"Kind": "service-defaults", "Name": "web~", "EnvoyExtensions": [{"Name": "none"}]}`}, false, "", "EnvoyExtensions"},
	} {
		set := &EntrySet{}
		for j, text := range tc.entries {
			text = strings.ReplaceAll(text, "~", strconv.Itoa(i))
			status, reply := consul.call(t, "PUT", "/v1/config", text)
			next, err := put(set, text)
			if j < len(tc.entries)-1 {
				if err != nil || status != 200 {
					t.Fatalf("%s: %d %s, %v", text, status, reply, err)
				}
				set = next
				continue
			}
			if (status == 200) != tc.consul {
				t.Errorf("%s: Consul says %d %s", tc.name, status, reply)
			}
			var e *EntryError
			if tc.here == "" && err != nil || tc.here != "" && (!errors.As(err, &e) || e.Field != tc.here) {
				t.Errorf("%s: here: %v", tc.name, err)
			}
			_, problems, _ := DecodeEntries([]byte(text), JSON)
			if tc.problem == "" && len(problems) > 0 || tc.problem != "" && (len(problems) != 1 || problems[0].Field != tc.problem) {
				t.Errorf("%s: problems %v", tc.name, problems)
			}
		}
	}
}
