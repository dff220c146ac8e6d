package consul

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/resolver/chain"
)

// hostile is a Consul that answers what it likes about chains.
type hostile struct {
	*httptest.Server
	mu      sync.Mutex
	index   uint64
	answer  func(http.ResponseWriter)
	changed chan struct{}
	asked   int
}

func newHostile(t *testing.T) *hostile {
	h := &hostile{changed: make(chan struct{}), index: 10}
	h.Server = httptest.NewServer(h)
	t.Cleanup(h.Close)
	return h
}

func (h *hostile) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.URL.Path, "/v1/discovery-chain/") {
		http.NotFound(w, r)
		return
	}
	sent, _ := strconv.ParseUint(r.URL.Query().Get("index"), 10, 64)
	h.mu.Lock()
	h.asked++
	for sent >= h.index {
		changed := h.changed
		h.mu.Unlock()
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
		h.mu.Lock()
	}
	answer := h.answer
	w.Header().Set("X-Consul-Index", strconv.FormatUint(h.index, 10))
	h.mu.Unlock()
	answer(w)
}

// says makes it answer so from now on.
func (h *hostile) says(answer func(http.ResponseWriter)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answer = answer
	h.index++
	close(h.changed)
	h.changed = make(chan struct{})
}

func text(s string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { _, _ = io.WriteString(w, s) }
}

// chainOf is a chain as Consul says it, of a service whose only target is subset.
func chainOf(service, subset string) string {
	id := subset + "." + service + ".default.default.dc1"
	return fmt.Sprintf(`{"Chain":{"ServiceName":%q,"Namespace":"default","Partition":"default","Datacenter":"dc1","Protocol":"http",
		"StartNode":"resolver:%s","Nodes":{"resolver:%s":{"Type":"resolver","Name":%q,"Resolver":{"ConnectTimeout":"5s","Target":%q}}},
		"Targets":{%q:{"ID":%q,"Service":%q,"ServiceSubset":%q,"Namespace":"default","Partition":"default","Datacenter":"dc1","Subset":{"Filter":"Service.Meta.version == %s"}}}}}`,
		service, id, id, id, id, id, id, service, subset, subset)
}

// watchChains follows a service and returns the newest update that is asked for.
func watchChains(t *testing.T, s *Chains, service string) func(what string, ok func(chain.Update) bool) chain.Update {
	t.Helper()
	updates := make(chan chain.Update)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.WatchChain(ctx, service, func(u chain.Update) {
			select {
			case updates <- u:
			case <-ctx.Done():
			}
		})
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return func(what string, ok func(chain.Update) bool) chain.Update {
		t.Helper()
		late := time.NewTimer(time.Minute)
		defer late.Stop()
		for {
			select {
			case u := <-updates:
				if ok(u) {
					return u
				}
			case <-late.C:
				t.Fatalf("waited in vain for %s", what)
			}
		}
	}
}

func chainsOf(t *testing.T, url, dir string) *Chains {
	t.Helper()
	c, err := New(Config{Name: "dc1", Address: url})
	if err != nil {
		t.Fatal(err)
	}
	s := c.Chains(dir)
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
		_ = c.Close(context.Background())
	})
	return s
}

func targetsSubset(name string) func(chain.Update) bool {
	return func(u chain.Update) bool {
		if u.Chain == nil || u.Err != nil {
			return false
		}
		for _, t := range u.Chain.Targets {
			return t.ServiceSubset == name
		}
		return false
	}
}

// Whatever is answered, the last good chain holds, in memory and on disk, and what
// is wrong is said; the next good answer is taken.
func TestChainsFromHostileServer(t *testing.T) {
	t.Parallel()
	good := chainOf("web", "v1")
	dangling := strings.Replace(good, `"StartNode":"resolver:v1`, `"StartNode":"resolver:v9`, 1)
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter)
		want   string
	}{
		"garbage":         {text("\x00\xff<html>"), "not a JSON object"},
		"empty":           {text(""), "not a JSON object"},
		"null":            {text("null"), `no object "Chain"`},
		"truncated":       {text(good[:len(good)/2]), "not a JSON object"},
		"cut off":         {cutOff(good), ""},
		"huge":            {func(w http.ResponseWriter) { _, _ = io.CopyN(w, spaces{}, maxChain+1) }, "exceeds 8 MiB"},
		"another service": {text(chainOf("admin", "v2")), `it is of service "admin"`},
		"contradictory":   {text(dangling), "StartNode"},
		"a wrong type":    {text(strings.Replace(good, `"Targets":{`, `"Targets":[`, 1)), "not a JSON object"},
		"500":             {func(w http.ResponseWriter) { http.Error(w, "No cluster leader", 500) }, "No cluster leader"},
		"http.StatusForbidden": {func(w http.ResponseWriter) {
			http.Error(w, "Permission denied: lacks 'service:read'", http.StatusForbidden)
		}, `service:read on "web"`},
		"two documents":    {text(good + good), "follows"},
		"a million nested": {text(`{"Chain":` + strings.Repeat("[", 1<<20)), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, dir := newHostile(t), t.TempDir()
			h.says(text(good))
			next := watchChains(t, chainsOf(t, h.URL, dir), "web")
			first := next("the first chain", targetsSubset("v1"))
			h.says(c.answer)
			bad := next("the complaint", func(u chain.Update) bool { return u.Err != nil })
			if bad.Chain != first.Chain {
				t.Errorf("the chain became %+v", bad.Chain)
			}
			if !strings.Contains(bad.Err.Error(), c.want) || len(bad.Err.Error()) > 1000 {
				t.Errorf("%q, want %q in it", bad.Err, c.want)
			}
			other := watchChains(t, chainsOf(t, "127.0.0.1:1", dir), "web")
			if u := other("the chain on disk", func(u chain.Update) bool { return u.Chain != nil }); !targetsSubset("v1")(chain.Update{Chain: u.Chain}) {
				t.Errorf("on disk is %+v", u.Chain)
			}
			if name == "http.StatusForbidden" || name == "huge" {
				return // waits longer, for people
			}
			h.says(text(chainOf("web", "v2")))
			next("the next good chain", targetsSubset("v2"))
		})
	}
}

func cutOff(s string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Length", strconv.Itoa(len(s)))
		_, _ = io.WriteString(w, s[:len(s)/2])
	}
}

type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// A server whose answers change all the time is followed at a bounded pace.
func TestChainsPace(t *testing.T) {
	t.Parallel()
	asked := 0
	bubble(t, Config{}, nil, func(t *testing.T, f *fake, c *Catalog) {
		f.roots = func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasPrefix(r.URL.Path, "/v1/discovery-chain/") {
				w.Header().Set("X-Consul-Index", "7")
				fmt.Fprint(w, `{"TrustDomain":"td"}`)
				return
			}
			f.mu.Lock()
			asked++
			n := asked
			f.mu.Unlock()
			w.Header().Set("X-Consul-Index", strconv.Itoa(10+n))
			fmt.Fprintf(w, "garbage %d", n)
		}
		s := c.Chains("")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_ = s.WatchChain(ctx, "web", func(chain.Update) {})
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	if asked > 1000 || asked < 10 {
		t.Errorf("%d queries in a minute", asked)
	}
}

// Files of others, of other services and of no use are not read.
func TestChainsFromDisk(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"garbage": "\x00", "another service": chainOf("admin", "v1"), "empty": "",
		"contradictory": strings.Replace(chainOf("web", "v1"), `"StartNode":"resolver:v1`, `"StartNode":"resolver:v9`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := chainsOf(t, "127.0.0.1:1", dir)
			if err := os.WriteFile(s.path("web"), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if u := watchChains(t, s, "web")("the first update", func(chain.Update) bool { return true }); u.Chain != nil || u.Err == nil {
				t.Errorf("%+v", u)
			}
		})
	}
	h, dir := newHostile(t), filepath.Join(t.TempDir(), "new")
	h.says(text(chainOf("web", "v1")))
	s := chainsOf(t, h.URL, dir)
	watchChains(t, s, "web")("the first chain", targetsSubset("v1"))
	h.says(text(chainOf("web", "v2")))
	watchChains(t, s, "web")("the second chain", targetsSubset("v2"))
	for deadline := time.Now().Add(time.Minute); ; {
		b, err := os.ReadFile(s.path("web"))
		if err == nil && strings.Contains(string(b), "v2.web") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q, %v", b, err)
		}
	}
	if info, err := os.Stat(s.path("web")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

// Writes to entries of other services wake the query for nothing; that delays no
// change of the own ones.
func TestChainsWokenForNothing(t *testing.T) {
	t.Parallel()
	bubble(t, Config{}, nil, func(t *testing.T, f *fake, c *Catalog) {
		var mu sync.Mutex
		index, body, changed := 10, chainOf("web", "v1"), make(chan struct{})
		write := func(b string) {
			mu.Lock()
			defer mu.Unlock()
			index, body = index+1, b
			close(changed)
			changed = make(chan struct{})
		}
		f.roots = func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasPrefix(r.URL.Path, "/v1/discovery-chain/") {
				w.Header().Set("X-Consul-Index", "7")
				fmt.Fprint(w, `{"TrustDomain":"td"}`)
				return
			}
			sent, _ := strconv.Atoi(r.URL.Query().Get("index"))
			for {
				mu.Lock()
				at, b, ch := index, body, changed
				mu.Unlock()
				if at > sent {
					w.Header().Set("X-Consul-Index", strconv.Itoa(at))
					_, _ = io.WriteString(w, b)
					return
				}
				select {
				case <-ch:
				case <-r.Context().Done():
					return
				}
			}
		}
		s := c.Chains("")
		got := make(chan string, 100)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- s.WatchChain(ctx, "web", func(u chain.Update) {
				for _, x := range u.Chain.Targets {
					got <- x.ServiceSubset
				}
			})
		}()
		if first := <-got; first != "v1" {
			t.Error(first)
		}
		for i := range 20 {
			want := []string{"v2", "v1"}[i%2]
			for range 3 {
				time.Sleep(20 * time.Millisecond)
				mu.Lock()
				same := body
				mu.Unlock()
				write(same)
			}
			synctest.Wait()
			began := time.Now()
			write(chainOf("web", want))
			if now := <-got; now != want {
				t.Errorf("change %d: %s, want %s", i, now, want)
			}
			if took := time.Since(began); took > 50*time.Millisecond {
				t.Errorf("change %d took %v", i, took)
			}
		}
		cancel()
		<-ended
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
