package chain

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

func TestParsePolicy(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	for _, tc := range []struct {
		name string
		meta map[string]string
		want Policy
	}{
		{"nothing", nil, Policy{}},
		{"others' keys", map[string]string{"owner": "team-a", "weft": "x"}, Policy{}},
		{"profile", map[string]string{KeyProfile: "consul"}, Policy{Profile: "consul"}},
		{"mirror", map[string]string{KeyMirror: "shadow"}, Policy{Mirror: Mirror{"shadow", 100}}},
		{"mirror some", map[string]string{KeyMirror: "shadow", KeyMirrorPercent: "0.01 %"}, Policy{Mirror: Mirror{"shadow", 0.01}}},
		{"mirror none", map[string]string{KeyMirror: "shadow", KeyMirrorPercent: "0"}, Policy{Mirror: Mirror{"shadow", 0}}},
		{"delay", map[string]string{KeyFaultDelay: "250ms", KeyFaultDelayShare: "5%"}, Policy{Fault: Fault{Delay: 250 * time.Millisecond, DelayPercent: 5}}},
		{"abort all", map[string]string{KeyFaultAbort: "14"}, Policy{Fault: Fault{Code: 14, AbortPercent: 100}}},
		{"abort HTTP", map[string]string{KeyFaultAbort: "503", KeyFaultAbortShare: "1.5"}, Policy{Fault: Fault{Status: 503, AbortPercent: 1.5}}},
		{"hedge", map[string]string{KeyHedge: "on", KeyHedgeMethods: "/a.B/C, GET"}, Policy{Hedge: Hedge{Enabled: true, Methods: []string{"/a.B/C", "GET"}}}},
		{"hedge after", map[string]string{KeyHedge: "20ms"}, Policy{Hedge: Hedge{Enabled: true, Delay: 20 * time.Millisecond}}},
		{"no hedge", map[string]string{KeyHedge: "off"}, Policy{}},
		{"active", map[string]string{KeyActive: "green"}, Policy{Active: "green"}},
		{"sticky", map[string]string{KeySticky: "header:x-user-id, cookie:sid,query:u,metadata:m"}, Policy{Sticky: []string{"header:x-user-id", "cookie:sid", "query:u", "metadata:m"}}},
		{"residency", map[string]string{KeyClouds: "aws, gcp", KeyRegions: "eu-west-1"}, Policy{Residency: Residency{[]string{"aws", "gcp"}, []string{"eu-west-1"}}}},
		{"locality on", map[string]string{KeyLocalityFailover: "on"}, Policy{LocalityFailover: &yes}},
		{"locality off", map[string]string{KeyLocalityFailover: "off"}, Policy{LocalityFailover: &no}},
		{"guard", map[string]string{KeyGuardErrors: "1%", KeyGuardLatency: "1.5", KeyGuardVolume: "100", KeyGuardWindow: "30s", KeyGuardHold: "2m", KeyGuardBaseline: "v1"},
			Policy{Guard: Objective{0.01, 1.5, 100, 30 * time.Second, 2 * time.Minute, "v1"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, bad := ParsePolicy(Policy{}, tc.meta)
			if len(bad) > 0 || !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got  %+v\nwant %+v\nproblems %v", got, tc.want, bad)
			}
		})
	}
}

func TestPolicyProblems(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ key, value, want string }{
		{"weft-hegde", "on", "there is no such key"},
		{KeyProfile, "unsafe", `there is no profile "unsafe"`},
		{KeyMirror, "no name!", "not allowed in service name"},
		{KeyMirror, "", "empty service name"},
		{KeyFaultDelay, "soon", "want a duration"},
		{KeyFaultDelay, "2h", "want a duration from 1ms to 1h"},
		{KeyFaultAbort, "200", "want a gRPC status code"},
		{KeyFaultAbort, "0", "want a gRPC status code"},
		{KeyHedge, "maybe", "want on, off, or a delay"},
		{KeySticky, "ip", "want header:NAME"},
		{KeySticky, "header:", "no header name"},
		{KeySticky, "cookie:", "is empty"},
		{KeySticky, "header:a,,", "none of them empty"},
		{KeyLocalityFailover, "yes please", "want on or off"},
		{KeyGuardErrors, "1.005", "in steps of 0.01"},
		{KeyGuardErrors, "NaN", "a percentage"},
		{KeyGuardErrors, "101", "a percentage"},
		{KeyGuardLatency, "1", "more than 1"},
		{KeyGuardLatency, "Inf", "at most 1000"},
		{KeyGuardVolume, "0", "whole number"},
		{KeyGuardWindow, "1ms", "want a duration"},
		{KeyGuardHold, "-1s", "want a duration"},
		{KeyMirrorPercent, "5", "without weft-mirror nothing is mirrored"},
		{KeyFaultDelayShare, "5", "without weft-fault-delay nothing is delayed"},
		{KeyFaultAbortShare, "5", "without weft-fault-abort nothing is aborted"},
		{KeyHedgeMethods, "a", "without weft-hedge nothing is hedged"},
		{KeyGuardBaseline, "v1", "nothing is watched"},
		{KeyClouds, "aws,,gcp", "nothing is allowed until it is right"},
	} {
		t.Run(tc.key+" "+tc.value, func(t *testing.T) {
			t.Parallel()
			_, bad := ParsePolicy(Policy{}, map[string]string{tc.key: tc.value})
			if len(bad) == 0 || bad[0].Field != "Meta["+tc.key+"]" || !strings.Contains(bad[0].Why, tc.want) {
				t.Errorf("problems %v, want %q", bad, tc.want)
			}
		})
	}
}

func TestPolicyKeepsBase(t *testing.T) {
	t.Parallel()
	base := Policy{Mirror: Mirror{"shadow", 5}, Active: "v1", Guard: Objective{MaxErrors: 0.1}, Hedge: Hedge{Enabled: true}}
	got, bad := ParsePolicy(base, map[string]string{KeyActive: "v2", KeyMirrorPercent: "7", KeyGuardErrors: "many", KeyGuardVolume: "7", KeyHedgeMethods: "GET"})
	want := base
	want.Active, want.Mirror.Percent, want.Guard.MinVolume, want.Hedge.Methods = "v2", 7, 7, []string{"GET"}
	if !reflect.DeepEqual(got, want) || len(bad) != 1 {
		t.Errorf("got %+v, problems %v", got, bad)
	}
	c := split(50, 50)
	c.ServiceMeta = map[string]string{KeyProfile: "consul", "weft-what": "1"}
	e, problems, err := New(c, Options{})
	if err != nil || e.Policy().Profile != NameConsul || e.Profile().RequestTimeout != 15*time.Second {
		t.Errorf("profile %v, %v", e.Profile(), err)
	}
	if len(problems) != 1 || problems[0].String() != `service-defaults/web: Meta[weft-what]: "1": there is no such key; see the README of package chain` {
		t.Errorf("problems %v", problems)
	}
}

func TestResidency(t *testing.T) {
	t.Parallel()
	at := func(cloud, region string) resolver.Locality { return resolver.Locality{Cloud: cloud, Region: region} }
	unreadable, _ := ParsePolicy(Policy{}, map[string]string{KeyClouds: ","})
	for _, tc := range []struct {
		r    Residency
		at   resolver.Locality
		want bool
	}{
		{Residency{}, at("", ""), true},
		{Residency{Clouds: []string{"aws"}}, at("aws", "x"), true},
		{Residency{Clouds: []string{"aws"}}, at("gcp", "x"), false},
		{Residency{Clouds: []string{"aws"}}, at("", ""), false},
		{Residency{Regions: []string{"eu"}}, at("aws", "eu"), true},
		{Residency{Regions: []string{"eu"}}, at("aws", ""), false},
		{Residency{Clouds: []string{"aws"}, Regions: []string{"eu"}}, at("gcp", "eu"), false},
		{unreadable.Residency, at("aws", "eu"), false},
		{unreadable.Residency, at("", ""), false},
	} {
		if got := tc.r.Allows(tc.at); got != tc.want {
			t.Errorf("%+v at %v: %v", tc.r, tc.at, got)
		}
	}
}

func TestProfileOf(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"": NameSafe, "safe": NameSafe, "consul": NameConsul} {
		if p, err := ProfileOf(name); err != nil || p.Name != want {
			t.Errorf("%q: %v, %v", name, p.Name, err)
		}
	}
	if _, err := ProfileOf("x"); err == nil {
		t.Error("x is a profile")
	}
}
