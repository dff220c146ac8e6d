package chain

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

const routerJSON = `{
  "Kind": "service-router", "Name": "web", "CreateIndex": 7, "ModifyIndex": 9, "Hash": 1,
  "Meta": {"weft-mirror": "5"},
  "Routes": [
    {"Match": {"HTTP": {"PathPrefix": "/api", "Header": [{"Name": "x-user", "Exact": "a"}], "QueryParam": [{"Name": "q", "Present": true}], "Methods": ["get"]}},
     "Destination": {"Service": "api", "RequestTimeout": "1.5s", "NumRetries": 3, "RetryOnStatusCodes": [503],
       "RequestHeaders": {"Add": {"x-a": "1"}, "Remove": ["x-b"]}}},
    {"Destination": {"ServiceSubset": "v2", "IdleTimeout": 2000000000}}
  ]
}`

const routerYAML = `
kind: service-router
name: web
meta: {weft-mirror: 5}
routes:
  - match:
      http:
        path_prefix: /api
        header:
          - {name: x-user, exact: a}
        query_param: {name: q, present: "true"}
        methods: get
    destination:
      service: api
      request_timeout: 1.5s
      num_retries: 3
      retry_on_status_codes: [503]
      request_headers:
        add: {x-a: "1"}
        remove: [x-b]
  - destination: {service_subset: v2, idle_timeout: 2_000_000_000}
`

const routerHCL = `
# As consul config write takes it.
Kind = "service-router"
Name = "web"
Meta { "weft-mirror" = 5 }
Routes = [
  {
    Match { HTTP {
      PathPrefix = "/api"
      Header = [{ Name = "x-user" Exact = "a" }]
      QueryParam { Name = "q" Present = true }
      Methods = ["GET"]
    } }
    Destination {
      Service = "api"
      request_timeout = "1500ms"
      NumRetries = "3"
      RetryOnStatusCodes = [503]
      RequestHeaders { Add { x-a = "1" } Remove = ["x-b"] }
    }
  },
  { Destination { ServiceSubset = "v2" IdleTimeout = "2s" } }
]
`

func TestFormats(t *testing.T) {
	t.Parallel()
	want := &ServiceRouter{
		Name: "web", Meta: map[string]string{"weft-mirror": "5"},
		Routes: []ServiceRoute{
			{
				Match: &RouteMatch{HTTP: &HTTPMatch{
					PathPrefix: "/api", Header: []HeaderMatch{{Name: "x-user", Exact: "a"}},
					QueryParam: []QueryMatch{{Name: "q", Present: true}}, Methods: []string{"GET"},
				}},
				Destination: &RouteDestination{
					Service: "api", RequestTimeout: 1500 * time.Millisecond, NumRetries: 3, RetryOnStatusCodes: []uint32{503},
					RequestHeaders: &HeaderModifiers{Add: map[string]string{"x-a": "1"}, Remove: []string{"x-b"}},
				},
			},
			{Destination: &RouteDestination{ServiceSubset: "v2", IdleTimeout: 2 * time.Second}},
		},
	}
	for format, text := range map[Format]string{JSON: routerJSON, YAML: routerYAML, HCL: routerHCL} {
		got, problems, err := DecodeEntries([]byte(text), format)
		if err != nil || len(problems) > 0 || len(got) != 1 || !reflect.DeepEqual(got[0], Entry(want)) {
			t.Errorf("%s: %+v, problems %v, error %v", format, got, problems, err)
		}
	}
}

func TestManyEntriesInOneText(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		format Format
		text   string
	}{
		"API list":   {JSON, `[{"Kind": "service-resolver", "Name": "a"}, {"Kind": "service-defaults", "Name": "b", "TransparentProxy": {}, "Expose": {}}]`},
		"agent":      {JSON, `{"config_entries": {"bootstrap": [{"kind": "service-resolver", "name": "a"}, {"kind": "service-defaults", "name": "b"}]}}`},
		"documents":  {YAML, "kind: service-resolver\nname: a\n---\nkind: service-defaults\nname: b\n---\n"},
		"list":       {YAML, "- {kind: service-resolver, name: a}\n- {kind: service-defaults, name: b}\n"},
		"agent, HCL": {HCL, `config_entries { bootstrap = [ { kind = "service-resolver" name = "a" }, { kind = "service-defaults" name = "b" } ] }`},
		"blocks":     {HCL, `config_entries { bootstrap { kind = "service-resolver" name = "a" } bootstrap { kind = "service-defaults" name = "b" } }`},
	} {
		got, problems, err := DecodeEntries([]byte(tc.text), tc.format)
		if err != nil || len(problems) > 0 || len(got) != 2 || got[0].EntryName() != "a" || got[1].EntryKind() != KindServiceDefaults {
			t.Errorf("%s: %v, problems %v, error %v", name, got, problems, err)
		}
	}
	for _, text := range []string{`[]`, `{"config_entries": {}}`, `{"config_entries": {"bootstrap": []}}`} {
		if got, _, err := DecodeEntries([]byte(text), JSON); err != nil || len(got) != 0 {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
}

// TestProblems has what is read but not honoured.
func TestEntryProblems(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		`{"Kind": "service-defaults", "Name": "a", "Mode": "transparent", "Expose": {"Checks": true}, "Colour": 1}`:                  {"Colour", "Expose", "Mode"},
		`{"Kind": "service-defaults", "Name": "a", "Mode": "", "TransparentProxy": {"DialedDirectly": false}}`:                       nil,
		`{"Kind": "service-defaults", "Name": "a", "LocalConnectTimeoutMs": 5, "BalanceInboundConnections": ""}`:                     {"LocalConnectTimeoutMs"},
		`{"Kind": "service-defaults", "Name": "a", "UpstreamConfig": {"Overrides": [{"Name": "b", "EnvoyClusterJSON": "x"}]}}`:       {"UpstreamConfig.Overrides[0].EnvoyClusterJSON"},
		`{"Kind": "proxy-defaults", "Config": {"protocol": "smtp", "envoy_x": 1}, "AccessLogs": {"Enabled": true}}`:                  {"AccessLogs", `Config["envoy_x"]`, "Config.protocol"},
		`{"Kind": "service-router", "Name": "a", "Routes": [{"Match": {"HTTP": {"Host": "b"}}, "Destination": {"Namespace": "n"}}]}`: {"Routes[0].Destination.Namespace", "Routes[0].Match.HTTP.Host"},
		`{"Kind": "service-router", "Name": "a", "Routes": [{"Destination": {"Namespace": "default"}}]}`:                             nil,
		`{"Kind": "service-resolver", "Name": "a", "Failover": {"*": {"Service": "b", "Policy": {"Regions": ["eu"]}}}}`:              {`Failover["*"].Policy`},
		`{"Kind": "service-intentions", "Name": "a", "Sources": []}`:                                                                 {""},
	} {
		_, problems, err := DecodeEntries([]byte(text), JSON)
		var got []string
		for _, p := range problems {
			got = append(got, p.Field)
			if p.Kind == "" || p.Why == "" || !strings.Contains(p.String(), p.Field) {
				t.Errorf("%s: problem %+v does not say enough", text, p)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: problems of %q, want %q; %v", text, got, want, err)
		}
	}
}

func TestBadText(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 100) + strings.Repeat("]", 100)
	for _, tc := range []struct {
		format     Format
		text, want string
	}{
		{JSON, ``, "ends too early"},
		{JSON, `{"Kind": "service-resolver"`, "ends too early"},
		{JSON, `{} {}`, "more text"},
		{JSON, `{"Kind": "service-resolver", "Kind": "service-router"}`, `key "Kind" stands twice`},
		{JSON, deep, "in each other"},
		{JSON, `7`, "the number 7 stands where an entry"},
		{JSON, `[1]`, "the number 1 stands where an entry"},
		{JSON, `[{"Kind": "service-resolver", "Name": "a"}, {}]`, "entry 2 of 2: has no kind"},
		{JSON, `{"Kind": "service-resolver", "Name": "a", "ConnectTimeout": [1, 2]}`, `service-resolver "a": ConnectTimeout: a list of 2 stands`},
		{JSON, `{"config_entries": {"bootstrp": []}}`, "config_entries.bootstrp"},
		{JSON, `{"config_entries": {}, "server": true}`, "other keys"},
		{JSON, strings.Repeat(" ", maxEntryBytes+1), "over 4194304"},
		{"toml", ``, `format "toml"`},
		{YAML, ``, "no entry"},
		{YAML, "a: &x [*x]", "aliases"},
		{YAML, "a: 1\nb: {<<: {c: 1}}", "merge"},
		{YAML, "\ta: 1", "cannot start any token"},
		{YAML, "a: 1\na: 2", "stands twice"},
		{YAML, deep, "in each other"},
		{YAML, "kind: service-splitter\nname: a\nsplits: {weight: .nan}", `service-splitter "a": Splits[0].Weight: ".nan" is not a number`},
		{YAML, "apiVersion: consul.hashicorp.com/v1alpha1\nkind: ServiceRouter\nmetadata: {name: a}", "Kubernetes"},
		{HCL, ``, "no entry"},
		{HCL, `Kind = `, "cannot be read"},
		{HCL, "Kind = \"service-resolver\"\nName = \"a\"\nConnectTimeout =", "cannot be read"},
		{HCL, "Kind = \"service-resolver\"\nName", "cannot be read"},
		{HCL, "Kind = \"service-resolver\" /* open", "cannot be read"},
		{HCL, `Kind = 99999999999999999999`, "cannot be read"},
		{HCL, "Kind = \"a\"\nKind = \"b\"", "Kind"},
		{HCL, "a = " + deep, "in each other"},
		{HCL, "a = " + strings.Repeat("[", 5000), "brackets"},
	} {
		entries, _, err := DecodeEntries([]byte(tc.text), tc.format)
		var e *EntryError
		if !errors.As(err, &e) || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(tc.want)) || len(err.Error()) > 700 {
			t.Errorf("%s %.60q: error %v does not say %q", tc.format, tc.text, err, tc.want)
		}
		if len(entries) > 1 {
			t.Errorf("%s %.60q: %d entries", tc.format, tc.text, len(entries))
		}
	}
}

func TestNeighboursOfBadEntries(t *testing.T) {
	t.Parallel()
	text := `[{"Kind": "service-resolver", "Name": "a"}, {"Kind": "service-resolver", "Name": "b", "ConnectTimeout": "x"}, {"Kind": "service-resolver", "Name": "c"}]`
	got, _, err := DecodeEntries([]byte(text), JSON)
	if len(got) != 2 || got[1].EntryName() != "c" || err == nil || !strings.Contains(err.Error(), `"b": ConnectTimeout`) {
		t.Errorf("%v, %v", got, err)
	}
}
