package mesh

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/chain"
)

// profiled is web with a profile, or none, and more of its service-defaults.
func profiled(profile string, more ...string) string {
	meta := `"owner":"shop"`
	if profile != "" {
		meta = `"weft-profile":"` + profile + `"`
	}
	return `{"Kind":"service-defaults","Name":"web","Protocol":"http","Meta":{` + strings.Join(append([]string{meta}, more...), ",") + `}}`
}

// web runs instances of web over HTTP that answer with their name, or as f says.
func web(t *testing.T, e *Embedded, f http.HandlerFunc, names ...string) {
	t.Helper()
	for _, name := range names {
		h := f
		if h == nil {
			h = func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) }
		}
		_, cloud, _ := strings.Cut(name, "@")
		reg := watched{e.Catalog, make(chan struct{}), func() {}}
		m := member(t, Config{Service: "web", InstanceID: name, Embedded: e, Locality: resolver.Locality{Cloud: cloud}, Registrar: reg, Propagation: -1})
		serve(t, m, httpServerOf(t, m, h))
		<-reg.registered
	}
}

// What the two profiles do with a call that fails, and how long a call may take.
func TestProfileCalls(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		profile  string
		attempts int64
		timeout  time.Duration
	}{
		{"consul", 1, 15 * time.Second},
		{"safe", 3, 30 * time.Second},
		{"", 3, 30 * time.Second},
	} {
		t.Run("profile "+c.profile, func(t *testing.T) {
			t.Parallel()
			e := embedded(t)
			var attempts atomic.Int64
			var left atomic.Int64
			web(t, e, func(w http.ResponseWriter, r *http.Request) {
				attempts.Add(1)
				if end, ok := r.Context().Deadline(); ok {
					left.Store(int64(time.Until(end)))
				}
				w.WriteHeader(http.StatusServiceUnavailable)
			}, "a@aws", "b@aws", "c@aws")
			m := member(t, Config{Service: "caller", Embedded: e, Locality: resolver.Locality{Cloud: "aws"}, Chains: newEntries(t, profiled(c.profile)).source()})
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://web/", nil) // no deadline of its own
			if err != nil {
				t.Fatal(err)
			}
			resp, err := m.HTTPClient().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if n := attempts.Load(); resp.StatusCode != http.StatusServiceUnavailable || n != c.attempts {
				t.Errorf("%s after %d attempts, want %d", resp.Status, n, c.attempts)
			}
			if d := time.Duration(left.Load()); d <= 0 || d > c.timeout || d <= c.timeout/2 {
				t.Errorf("the server has %v left, want nearly %v", d, c.timeout)
			}
		})
	}
}

// Profile consul takes turns.
func TestProfileRoundRobin(t *testing.T) {
	t.Parallel()
	e := embedded(t)
	web(t, e, nil, "a@aws", "b@aws", "c@aws")
	m := member(t, Config{Service: "caller", Embedded: e, Locality: resolver.Locality{Cloud: "aws"}, Chains: newEntries(t, profiled("consul")).source()})
	call := func() string {
		who, err := get(bound(t), m, "http://web/")
		if err != nil {
			t.Fatal(err)
		}
		return who
	}
	seen := map[string]bool{}
	eventually(t, "all are connected", func() bool { seen[call()] = true; return len(seen) == 3 })
	for range 10 {
		if turn := map[string]bool{call(): true, call(): true, call(): true}; len(turn) != 3 {
			t.Errorf("three calls went to %v", turn)
		}
	}
}

// With a quarter of the local instances healthy, profile consul stays, as Envoy under
// Consul does, and profile safe moves what they cannot carry; with none both fail over.
func TestProfileFailover(t *testing.T) {
	t.Parallel()
	for profile, stays := range map[string]bool{"consul": true, "safe": false, "": false} {
		t.Run("profile "+profile, func(t *testing.T) {
			t.Parallel()
			e := embedded(t)
			dead := func(n int) {
				t.Helper()
				var eps []resolver.Endpoint
				for i := range n {
					eps = append(eps, resolver.Endpoint{ID: resolver.ID{Instance: fmt.Sprint("dead-", i)}, Addr: fmt.Sprintf("127.0.0.1:%d", i+1),
						Health: resolver.Critical, Locality: resolver.Locality{Cloud: "aws"}, Protocol: "http"})
				}
				if err := e.Catalog.Set("web", eps...); err != nil {
					t.Fatal(err)
				}
			}
			web(t, e, nil, "there@gcp")
			dead(3)
			ent := newEntries(t, profiled(profile), `{"Kind":"service-resolver","Name":"web","Failover":{"*":{"Datacenters":["gcp"]}}}`)
			m := member(t, Config{Service: "caller", Embedded: e, Locality: resolver.Locality{Cloud: "aws"}, Chains: ent.source(),
				Balancer: balancer.Config{FailbackAfter: -1, SlowStart: -1}})
			call := func() string {
				who, err := get(bound(t), m, "http://web/")
				if err != nil {
					t.Fatal(err)
				}
				return who
			}
			for range 20 {
				if who := call(); who != "there@gcp" {
					t.Fatalf("with no healthy instance here: %s", who)
				}
			}
			web(t, e, nil, "here@aws")
			eventually(t, "the healthy one is called", func() bool { return call() == "here@aws" })
			there := 0
			for range 200 {
				if call() == "there@gcp" {
					there++
				}
			}
			if stays && there > 0 || !stays && (there < 60 || there > 190) {
				t.Errorf("%d of 200 calls left for gcp", there)
			}
		})
	}
}

// What the profiles leave to the caller's own policy, which goes before them.
func TestProfileYields(t *testing.T) {
	t.Parallel()
	e := embedded(t)
	var attempts atomic.Int64
	web(t, e, func(w http.ResponseWriter, _ *http.Request) {
		attempts.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	}, "a@aws", "b@aws")
	cfg := Config{Service: "caller", Embedded: e, Locality: resolver.Locality{Cloud: "aws"}, Chains: newEntries(t, profiled("consul")).source()}
	cfg.Policy.Retry.Attempts = 2
	cfg.Policy.Timeout = 7 * time.Second
	cfg.Balancer.Policy = balancer.Random{}
	m := member(t, cfg)
	if _, err := get(bound(t), m, "http://web/"); err != nil {
		t.Fatal(err)
	}
	if n := attempts.Load(); n != 2 {
		t.Errorf("%d attempts, want the caller's 2", n)
	}
	tab := m.to.of("web").router.table.Load()
	for p, w := range tab.ways {
		lane, _ := m.to.laneFor("web", w.lane)
		if _, ok := lane.Policy.(balancer.Random); !ok || lane.Overprovision != chain.ConsulProfile().Overprovision {
			t.Errorf("plan %s: policy %T, overprovision %v", p.Target.ID, lane.Policy, lane.Overprovision)
		}
	}
}
