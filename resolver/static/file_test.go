package static_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/resolvertest"
	"github.com/weft-mesh/weft/resolver/static"
)

// open writes content to a file and opens it, looked at every millisecond.
func open(t testing.TB, content string) (*static.File, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "services.yaml")
	replace(t, path, content)
	f, err := static.Open(t.Context(), path, static.FileConfig{Name: "aws", Poll: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close(context.Background()) })
	return f, path
}

// replace puts content in place by a rename, as the documentation asks.
func replace(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// first returns the first snapshot of service that is ok.
func first(t testing.TB, cat resolver.Catalog, service string, ok func(*resolver.Snapshot) bool) *resolver.Snapshot {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var found, last *resolver.Snapshot
	err := cat.Watch(ctx, service, func(s *resolver.Snapshot) {
		last = s
		if found == nil && ok(s) {
			found = s
			cancel()
		}
	})
	if found == nil {
		t.Fatalf("no such snapshot of %q (%v); the last one is %+v", service, err, last)
	}
	return found
}

func any1(*resolver.Snapshot) bool { return true }

func TestFileKeepsTheContract(t *testing.T) {
	t.Parallel()
	resolvertest.Run(t, func(t *testing.T) resolvertest.Subject {
		var mu sync.Mutex
		services := map[string][]string{}
		render := func() string {
			var b strings.Builder
			b.WriteString("services:\n  other: []\n")
			for name, addrs := range services {
				fmt.Fprintf(&b, "  %s:\n", name)
				for _, a := range addrs {
					fmt.Fprintf(&b, "    - address: %q\n", a)
				}
			}
			return b.String()
		}
		f, path := open(t, render())
		return resolvertest.Subject{
			Catalog: f,
			Set: func(service string, addrs ...string) {
				mu.Lock()
				defer mu.Unlock()
				services[service] = addrs
				replace(t, path, render())
			},
			Break: func() {
				replace(t, path, "services: {")
				// Nobody has asked for it: it is stale if that is in time, and else unknown.
				first(t, f, "other", func(s *resolver.Snapshot) bool {
					return s.State == resolver.Stale || s.State == resolver.Unknown && s.Reason != nil
				})
			},
			Heal: func() {
				mu.Lock()
				defer mu.Unlock()
				replace(t, path, render())
			},
			Close: func() {
				if err := f.Close(context.Background()); err != nil {
					t.Error(err)
				}
			},
		}
	})
}

func TestFileFields(t *testing.T) {
	t.Parallel()
	yaml := `
services:
  payments:
    - address: "[2001:db8:0:0::1]:9000"
      id: payments-1
      node: vm-7
      cloud: gcp
      region: europe-west1
      zone: europe-west1-b
      weight: 10
      health: warning
      protocol: grpc
      spiffe_id: spiffe://prod.example/ns/default/dc/gcp/svc/payments
      tags: [v2, canary]
      meta: {version: "2.1"}
`
	json := "{\n\t\"services\": {\n\t\t\"payments\": [{\"address\": \"[2001:db8::1]:9000\", \"id\": \"payments-1\", \"node\": \"vm-7\",\n" +
		"\t\t\"cloud\": \"gcp\", \"region\": \"europe-west1\", \"zone\": \"europe-west1-b\", \"weight\": 10, \"health\": \"warning\",\n" +
		"\t\t\"protocol\": \"grpc\", \"spiffe_id\": \"spiffe://prod.example/ns/default/dc/gcp/svc/payments\", \"tags\": [\"v2\", \"canary\"], \"meta\": {\"version\": \"2.1\"}}]\n\t}\n}\n"
	want := &resolver.Endpoint{
		ID:       resolver.ID{Source: "aws", Node: "vm-7", Instance: "payments-1"},
		Service:  "payments",
		Addr:     "[2001:db8::1]:9000",
		Locality: resolver.Locality{Cloud: "gcp", Region: "europe-west1", Zone: "europe-west1-b"},
		Weight:   10, Health: resolver.Warning, Protocol: "grpc",
		SPIFFEID: "spiffe://prod.example/ns/default/dc/gcp/svc/payments",
		Tags:     []string{"v2", "canary"}, Metadata: map[string]string{"version": "2.1"},
	}
	for name, content := range map[string]string{"yaml": yaml, "json with tabs": json} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, _ := open(t, content)
			s := first(t, f, "payments", any1)
			if s.State != resolver.Known || len(s.Endpoints) != 1 || !s.Endpoints[0].Equal(want) {
				t.Fatalf("%+v, want one endpoint %+v", s, want)
			}
		})
	}
}

// A file's structure is strict: a typing error must not change what is served
// silently.
func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, content, want string }{
		{"empty", "", `needs at least the key "services"`},
		{"no services", "{}", `the key "services" is missing`},
		{"unknown top key", "services: {}\nservice: {}\n", `line 2: unknown key "service"`},
		{"unknown endpoint key", "services:\n  a:\n    - adress: 10.0.0.1:1\n", `line 3: unknown key "adress"`},
		{"wrong type", "services:\n  a:\n    - address: 10.0.0.1:1\n      weight: heavy\n", "line 4"},
		{"nan", "services:\n  a:\n    - address: 10.0.0.1:1\n      weight: .nan\n", "line 4"},
		{"not a list", "services:\n  a: 10.0.0.1:1\n", "line 2"},
		{"not a mapping", "services:\n  a: [10.0.0.1:1]\n", "line 2"},
		{"double service", "services:\n  a: []\n  a: []\n", `line 3: key "a" stands twice`},
		{"bad service name", "services:\n  \"a b\": []\n", "line 2"},
		{"alias", "services:\n  a: &a []\n  b: *a\n", "line 3: YAML aliases"},
		{"merge key", "services:\n  <<: {a: []}\n", "line 2: YAML aliases"},
		{"syntax", "services: {", "line 1"},
		{"invalid UTF-8", "services: {\"\xff\": []}", "UTF-8"},
		{"two documents of garbage", "\x00", "control characters"},
		{"too large", "services: {} #" + strings.Repeat("x", 2000), "MaxBytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "f.yaml")
			replace(t, path, tt.content)
			_, err := static.Open(t.Context(), path, static.FileConfig{MaxBytes: 1000})
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "resolver/static: ") {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
	if _, err := static.Open(t.Context(), t.TempDir(), static.FileConfig{}); err == nil {
		t.Error("a directory was opened")
	}
	if _, err := static.Open(t.Context(), "/does/not/exist", static.FileConfig{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want not exist", err)
	}
	if _, err := static.Open(t.Context(), "x", static.FileConfig{Poll: -1}); err == nil || !strings.Contains(err.Error(), "Poll") {
		t.Errorf("error %v, want one about Poll", err)
	}
}

// Each bad value costs its own endpoint, which is counted and named.
func TestBadEndpointsAreSkippedAndNamed(t *testing.T) {
	t.Parallel()
	bad := []string{
		`address: ""`, `address: "10.0.0.1"`, `address: "10.0.0.1:0"`, `address: "10.0.0.1:65536"`, `address: "10.0.0.1:-1"`,
		`address: "0.0.0.0:1"`, `address: "[::]:1"`, `address: "10.0.0.256:1"`, `address: "a b:1"`, `address: "224.0.0.1:1"`,
		`{address: "10.0.0.1:1", weight: 0}`, `{address: "10.0.0.1:1", weight: -1}`, `{address: "10.0.0.1:1", weight: 65536}`,
		`{address: "10.0.0.1:1", health: fine}`, `{address: "10.0.0.1:1", protocol: smtp}`, `{address: "10.0.0.1:1", spiffe_id: payments}`,
		`{address: "10.0.0.1:1", id: "` + strings.Repeat("x", 10<<10) + `"}`, `{address: "10.0.0.1:1", node: "a\u0000b"}`,
		`{address: "10.0.0.1:1", meta: {k: "` + strings.Repeat("x", 17<<10) + `"}}`,
		`{address: "10.0.0.9:1", id: good}`, // used already
	}
	for _, b := range bad {
		f, _ := open(t, "services:\n  a:\n    - {address: \"10.0.0.2:2\", id: good}\n    - "+b+"\n    - {address: \"10.0.0.3:3\"}\n")
		s := first(t, f, "a", any1)
		if s.State != resolver.Known || len(s.Endpoints) != 2 || s.Skipped != 1 || len(s.SkippedReasons) != 1 || !strings.HasPrefix(s.SkippedReasons[0], "line 4: ") {
			t.Errorf("with %.60s: %d endpoints, %d skipped for %q; want 2 and 1 in line 4", b, len(s.Endpoints), s.Skipped, s.SkippedReasons)
		}
		if s.Endpoints[0].Addr != "10.0.0.3:3" && s.Endpoints[1].Addr != "10.0.0.3:3" {
			t.Errorf("with %.60s: the neighbour is missing", b)
		}
	}
}

func TestBadFileKeepsTheLastGoodContent(t *testing.T) {
	t.Parallel()
	f, path := open(t, "services: {a: [{address: '10.0.0.1:1'}]}")
	good := first(t, f, "a", any1)
	for _, broken := range []func(){
		func() { replace(t, path, "services: {a: [{adress: '10.0.0.1:1'}]}") },
		func() {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		},
	} {
		broken()
		s := first(t, f, "a", func(s *resolver.Snapshot) bool { return s.State == resolver.Stale })
		if len(s.Endpoints) != 1 || s.Endpoints[0] != good.Endpoints[0] || s.StaleSince.IsZero() || s.Reason == nil {
			t.Errorf("%+v, want the last good endpoints with a reason", s)
		}
		replace(t, path, "services: {a: [{address: '10.0.0.1:1'}]}")
		first(t, f, "a", func(s *resolver.Snapshot) bool { return s.State == resolver.Known })
	}
}

// Kubernetes mounts a ConfigMap as a link to a directory that is exchanged.
func TestSymlinkSwap(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for v, addr := range map[string]string{"v1": "10.0.0.1:1", "v2": "10.0.0.2:2"} {
		if err := os.Mkdir(filepath.Join(dir, v), 0o700); err != nil {
			t.Fatal(err)
		}
		replace(t, filepath.Join(dir, v, "f.yaml"), "services: {a: [{address: '"+addr+"'}]}")
	}
	link := func(v string) {
		if err := os.Symlink(v, filepath.Join(dir, "new")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "data")); err != nil {
			t.Fatal(err)
		}
	}
	link("v1")
	f, err := static.Open(t.Context(), filepath.Join(dir, "data", "f.yaml"), static.FileConfig{Poll: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close(context.Background()) }()
	is := func(addr string) func(*resolver.Snapshot) bool {
		return func(s *resolver.Snapshot) bool { return len(s.Endpoints) == 1 && s.Endpoints[0].Addr == addr }
	}
	first(t, f, "a", is("10.0.0.1:1"))
	link("v2")
	first(t, f, "a", is("10.0.0.2:2"))
	link("v1")
	first(t, f, "a", is("10.0.0.1:1"))
}
