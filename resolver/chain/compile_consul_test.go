package chain

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/internal/consultest/ctest"
)

// TestSameAsConsul writes random sets of entries to a real Consul and compiles
// them here. Both must accept the same entries and give the same chains.
//
//	WEFT_CHAIN_SEED=n   begins with seed n, to replay a run
//	WEFT_CHAIN_SETS=n   compares n sets; 1 replays the set of a failure
func TestSameAsConsul(t *testing.T) {
	t.Parallel()
	seed, sets := uint64(rand.Uint32()), 2000
	if s := os.Getenv("WEFT_CHAIN_SEED"); s != "" {
		seed = must(strconv.ParseUint(s, 10, 64))(t)
	}
	if s := os.Getenv("WEFT_CHAIN_SETS"); s != "" {
		sets = must(strconv.Atoi(s))(t)
	}
	t.Logf("%d sets; replay with WEFT_CHAIN_SEED=%d", sets, seed)
	began := time.Now()
	// proxy-defaults holds for all services, so each has a Consul of its own.
	var total tally
	for w := range uint64(len(worlds)) {
		consul := newConsulSide(t, worlds[w])
		var wg sync.WaitGroup
		next := make(chan uint64)
		for range 8 {
			wg.Go(func() {
				for n := range next {
					consul.compare(t, n, &total)
				}
			})
		}
		for n := seed; n < seed+uint64(sets); n++ {
			if n%uint64(len(worlds)) == w {
				next <- n
			}
		}
		close(next)
		wg.Wait()
		consul.close()
	}
	t.Logf("%d sets, %d entries (%d refused by both), %d chains (%d refused by both, %d after asking again) in %v",
		total.sets.Load(), total.entries.Load(), total.refused.Load(), total.chains.Load(), total.broken.Load(), total.again.Load(),
		time.Since(began).Round(time.Millisecond))
	if n := total.sets.Load(); n != int64(sets) {
		t.Errorf("compared %d sets, not %d", n, sets)
	}
}

// worlds are the proxy-defaults that sets live under; empty: none.
var worlds = []string{
	"",
	`{"Kind": "proxy-defaults", "Name": "global", "Config": {"protocol": "http"}, "MeshGateway": {"Mode": "local"}}`,
	`{"kind": "proxy-defaults", "name": "global", "config": {"Protocol": "GRPC"}, "failover_policy": {"mode": "order-by-locality"}}`,
}

type tally struct{ sets, entries, refused, chains, broken, again atomic.Int64 }

// consulSide is a real Consul, and the empty set that stands for it.
type consulSide struct {
	agent  *consultest.Agent
	client *http.Client
	domain string
	base   *EntrySet
}

func newConsulSide(t *testing.T, proxyDefaults string) *consulSide {
	c := &consulSide{agent: ctest.Start(t, consultest.Config{}), client: &http.Client{Timeout: time.Minute}, base: &EntrySet{}}
	c.client.Transport = &http.Transport{MaxIdleConnsPerHost: 16}
	var roots struct{ TrustDomain string }
	status, body := c.call(t, "GET", "/v1/connect/ca/roots", "")
	if err := json.Unmarshal([]byte(body), &roots); err != nil || roots.TrustDomain == "" {
		t.Fatalf("trust domain: status %d, %v: %s", status, err, body)
	}
	c.domain = roots.TrustDomain
	if proxyDefaults != "" {
		if status, body := c.call(t, "PUT", "/v1/config", proxyDefaults); status != 200 {
			t.Fatalf("proxy-defaults: %s", body)
		}
		entries, _, err := DecodeEntries([]byte(proxyDefaults), JSON)
		if err == nil {
			c.base, err = NewEntrySet(entries...)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func (c *consulSide) close() {
	c.client.CloseIdleConnections()
	c.agent.Stop()
}

func (c *consulSide) call(t *testing.T, method, path, body string) (status int, reply string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+c.agent.HTTPAddr()+path, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	res, err := c.client.Do(req)
	if err != nil {
		t.Errorf("%s %s: %v", method, path, err)
		return 0, ""
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Error(err)
	}
	return res.StatusCode, string(data)
}

// compare runs one set through both sides.
func (c *consulSide) compare(t *testing.T, seed uint64, total *tally) {
	g := newGenerator(seed, fmt.Sprintf("s%d", seed))
	replay := fmt.Sprintf("WEFT_CHAIN_SEED=%d WEFT_CHAIN_SETS=1", seed)
	set := c.base
	for _, m := range g.entries() {
		text := string(must(json.Marshal(m))(t))
		total.entries.Add(1)
		status, reply := c.call(t, "PUT", "/v1/config", text)
		next, err := put(set, text)
		if (err == nil) != (status == 200) {
			t.Errorf("%s: entry %s\nConsul: %d %s\nhere: %v", replay, text, status, reply, err)
			return
		}
		if err == nil {
			set = next
			continue
		}
		total.refused.Add(1)
		var e *EntryError
		if !errors.As(err, &e) || e.Kind == "" || e.Name == "" && lookUp(m, "name") != nil && lookUp(m, "name") != "" {
			t.Errorf("%s: entry %s: error %q names no entry", replay, text, err)
		}
	}
	// Together they are good as well, in whatever order; but a write is compiled into
	// the chains next to it only, so that Consul too can come to hold a set of which it
	// cannot compile a chain.
	if _, err := NewEntrySet(set.Entries()...); err != nil && !c.refusesAny(t, g.names) {
		t.Errorf("%s: accepted one by one, but not together: %v", replay, err)
	}
	for _, name := range g.names {
		total.chains.Add(1)
		c.compareChain(t, replay, set, g, name, total)
	}
	total.sets.Add(1)
}

// refusesAny reports whether Consul cannot compile the chain of one of the services.
func (c *consulSide) refusesAny(t *testing.T, names []string) bool {
	for _, name := range names {
		if status, _ := c.call(t, "GET", "/v1/discovery-chain/"+name, ""); status != http.StatusOK {
			return true
		}
	}
	return false
}

func put(s *EntrySet, text string) (*EntrySet, error) {
	entries, _, err := DecodeEntries([]byte(text), JSON)
	if err != nil {
		return nil, err
	}
	return s.With(entries[0])
}

func (c *consulSide) compareChain(t *testing.T, replay string, set *EntrySet, g *generator, name string, total *tally) {
	cfg := CompileConfig{TrustDomain: c.domain, Datacenter: pick(g, "dc1", "dc1", "dc2")}
	method, path, body := "GET", "/v1/discovery-chain/"+name+"?compile-dc="+cfg.Datacenter, ""
	if g.chance(30) {
		over := tree{}
		if g.chance(50) {
			cfg.OverrideProtocol = pick(g, "tcp", "http", "http2", "grpc")
			over["OverrideProtocol"] = cfg.OverrideProtocol
		}
		if g.chance(40) {
			cfg.OverrideConnectTimeout = time.Duration(g.IntN(9)) * time.Second
			over["OverrideConnectTimeout"] = cfg.OverrideConnectTimeout.String()
		}
		if g.chance(40) {
			cfg.OverrideMeshGateway.Mode = pick(g, "none", "local", "remote")
			over["OverrideMeshGateway"] = tree{"Mode": cfg.OverrideMeshGateway.Mode}
		}
		method, body = "POST", string(must(json.Marshal(over))(t))
	}
	ours, err := set.Compile(name, cfg)
	// Consul resolves splitters in splitters in the order of a Go map, and rounds at
	// each step: where there are three levels it gives one of several answers.
	for try := 0; ; try++ {
		status, reply := c.call(t, method, path, body)
		if (err == nil) != (status == 200) {
			t.Errorf("%s: chain %q\nConsul: %d %s\nhere: %v", replay, name, status, reply, err)
			return
		}
		if err != nil {
			total.broken.Add(1)
			return
		}
		if _, _, err := New(ours, Options{}); err != nil {
			t.Errorf("%s: chain %q cannot be evaluated: %v", replay, name, err)
		}
		theirs := decodeConsulChain(t, reply)
		if reflect.DeepEqual(theirs, withoutEmpty(ours)) {
			if try > 0 {
				total.again.Add(1)
			}
			return
		}
		deep := splitterLevels(set, name) >= 3
		if deep && try == 30 && reflect.DeepEqual(rounded(theirs, ours), withoutEmpty(ours)) {
			total.again.Add(1) // too many orders to meet ours: the same but for the rounding
			return
		}
		if try == 30 || !deep {
			t.Errorf("%s: chain %q (%s %s)\nConsul: %s\nhere:   %s", replay, name, method, body, indent(theirs), indent(ours))
			return
		}
	}
}
