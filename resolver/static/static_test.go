package static_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/static"
)

func TestSetRefusesAndChangesNothing(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		eps  []resolver.Endpoint
		want string
	}{
		{"address", []resolver.Endpoint{{Addr: "10.0.0.2:2"}, {Addr: "10.0.0.1"}}, "endpoint 1"},
		{"port name", []resolver.Endpoint{{Addr: "10.0.0.1:http"}}, "not a number"},
		{"weight", []resolver.Endpoint{{Addr: "10.0.0.1:1", Weight: 70000}}, "weight 70000"},
		{"health", []resolver.Endpoint{{Addr: "10.0.0.1:1", Health: 9}}, "health"},
		{"twice", []resolver.Endpoint{{Addr: "10.0.0.1:1"}, {Addr: "10.0.0.1:1"}}, "used twice"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cat := static.New(static.Config{})
			set(t, cat, "a", "10.0.0.9:9")
			if err := cat.Set("a", tt.eps...); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
			if s := first(t, cat, "a", any1); len(s.Endpoints) != 1 || s.Endpoints[0].Addr != "10.0.0.9:9" {
				t.Errorf("the refused call changed the catalog: %+v", s)
			}
		})
	}
	if err := static.New(static.Config{}).Set("a b"); err == nil {
		t.Error("a bad service name was accepted")
	}
}

func TestSetCopiesAndFillsIn(t *testing.T) {
	t.Parallel()
	cat := static.New(static.Config{Name: "aws", SPIFFEID: func(s string) string { return "spiffe://td/" + s }})
	tags, meta := []string{"v1"}, map[string]string{"k": "v"}
	if err := cat.Set("a", resolver.Endpoint{Addr: "10.0.0.1:1", Tags: tags, Metadata: meta}); err != nil {
		t.Fatal(err)
	}
	tags[0], meta["k"] = "changed", "changed"
	e := first(t, cat, "a", any1).Endpoints[0]
	if e.Tags[0] != "v1" || e.Metadata["k"] != "v" {
		t.Errorf("the caller's later writes are seen: %+v", e)
	}
	if e.ID != (resolver.ID{Source: "aws", Instance: "10.0.0.1:1"}) || e.Weight != 1 || e.Locality.Cloud != "aws" || e.SPIFFEID != "spiffe://td/a" {
		t.Errorf("defaults: %+v", e)
	}
	if got := cat.Services(); len(got) != 1 || got[0] != "a" {
		t.Errorf("Services() = %q", got)
	}
	cat.Remove("a")
	if got := cat.Services(); len(got) != 0 {
		t.Errorf("Services() = %q after Remove", got)
	}
}

func TestRegister(t *testing.T) {
	t.Parallel()
	cat := static.New(static.Config{})
	set(t, cat, "a", "10.0.0.9:9")
	in := resolver.Instance{Service: "a", Host: "2001:db8::1", Port: 9000, Protocol: "grpc", Weight: 5}
	old, err := cat.Register(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	in.Weight = 6
	newer, err := cat.Register(t.Context(), in) // the same instance, restarted
	if err != nil {
		t.Fatal(err)
	}
	count := func(n int) []*resolver.Endpoint {
		t.Helper()
		return first(t, cat, "a", func(s *resolver.Snapshot) bool { return len(s.Endpoints) == n }).Endpoints
	}
	if e := count(2)[1]; e.Addr != "[2001:db8::1]:9000" || e.Weight != 6 || e.ID.Instance != "a-9000" {
		t.Errorf("registered endpoint %+v", e)
	}
	set(t, cat, "a", "10.0.0.8:8") // does not touch registrations
	count(2)
	if err := old(t.Context()); err != nil { // replaced: not its own any more
		t.Error(err)
	}
	count(2)
	for range 2 {
		if err := newer(t.Context()); err != nil {
			t.Error(err)
		}
	}
	count(1)
	for _, bad := range []resolver.Instance{{Service: "a", Host: "0.0.0.0", Port: 1}, {Service: "a", Port: 1}, {Service: "a", Host: "h"}, {Host: "h", Port: 1},
		{Service: "a", Host: "h", Port: 1, Weight: 1 << 20}, {Service: "a", Host: "h", Port: 1, Protocol: "smtp"}} {
		if _, err := cat.Register(t.Context(), bad); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

func TestLoseFreezesWhatIsSeen(t *testing.T) {
	t.Parallel()
	cat, lost := static.New(static.Config{}), errors.New("lost")
	set(t, cat, "a", "10.0.0.1:1")
	cat.Lose(lost)
	set(t, cat, "a", "10.0.0.2:2")
	if s := first(t, cat, "a", any1); s.State != resolver.Stale || s.Reason != lost || s.Endpoints[0].Addr != "10.0.0.1:1" {
		t.Errorf("%+v, want the list from before the loss", s)
	}
	cat.Restore()
	if s := first(t, cat, "a", any1); s.State != resolver.Known || s.Endpoints[0].Addr != "10.0.0.2:2" {
		t.Errorf("%+v, want the newest list", s)
	}
}
