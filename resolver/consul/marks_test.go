package consul

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

// racked is n instances on racks 0 and 1 in turn, the first with a check's status.
func racked(n int, status string) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(`{"Node":{"Node":"n","Address":"10.0.0.1","Datacenter":"dc1","Meta":{"rack":"%d"}},
			"Service":{"ID":"i%03d","Service":"web","Port":%d,"Connect":{"Native":true},"ModifyIndex":%d},"Checks":[{"CheckID":"c","Status":%q}]}`, i%2, i, 1000+i, i, status)
		status = "passing"
	}
	return "[" + strings.Join(all, ",") + "]"
}

const (
	onRack0   = `Node.Meta.rack == "0"`
	onRack1   = `Node.Meta.rack == "1"`
	isPassing = `Checks.Status == "passing"`
)

// in are the endpoints of a snapshot that a filter selects; known is false if one is
// not marked by it.
func in(s *resolver.Snapshot, filter string) (ids []string, known bool) {
	known = true
	for _, e := range s.Endpoints {
		yes, ok := e.Marked(filter)
		if known = known && ok; yes {
			ids = append(ids, e.ID.Instance)
		}
	}
	return ids, known
}

func wantIn(t *testing.T, s *resolver.Snapshot, filter string, want ...string) {
	t.Helper()
	if ids, ok := in(s, filter); !ok || !slices.Equal(ids, want) {
		t.Errorf("%s: %v (all decided: %v), want %v", filter, ids, ok, want)
	}
}

// Filters that come while a list is watched cost one read; the next ones cost none, and
// work without Consul. A check's change is in the same snapshot as the marks by it.
func TestMarks(t *testing.T) {
	t.Parallel()
	var changed chan struct{}
	answer := func(q question) response {
		if q.index < 9 {
			return response{index: 9, body: racked(4, "passing")}
		}
		if q.index == 9 {
			select {
			case <-changed:
				return response{index: 10, body: racked(4, "warning")}
			case <-q.ctx.Done():
				return response{}
			case <-time.After(q.wait):
				return response{index: 9, body: racked(4, "passing")}
			}
		}
		return block(q, response{index: 10, body: racked(4, "warning")})
	}
	bubble(t, Config{}, answer, func(t *testing.T, f *fake, c *Catalog) {
		changed = make(chan struct{})
		w := read(t, c, "web")
		pass(50 * time.Millisecond)
		bare := w.last()
		if n := f.queries(); n != 2 || bare.Endpoints[0].Marks != nil {
			t.Fatalf("%d queries, %s", n, show(bare))
		}
		for v := range c.watches {
			if v.view.list.instances[0].record != nil {
				t.Error("records are kept for nobody")
			}
		}
		mark := func(filters ...string) *resolver.Snapshot {
			t.Helper()
			if err := c.Mark("web", filters); err != nil {
				t.Fatal(err)
			}
			pass(50 * time.Millisecond)
			return w.last()
		}
		s := mark(onRack0, "Service.Nope == 1", isPassing)
		wantIn(t, s, onRack0, "i000", "i002")
		wantIn(t, s, isPassing, "i000", "i001", "i002", "i003")
		if _, ok := in(s, "Service.Nope == 1"); ok || s.State != resolver.Known {
			t.Errorf("a filter that Consul refuses has marks: %s", show(s))
		}
		if s.Endpoints[0].Marks != s.Endpoints[2].Marks || s.Endpoints[0].Marks == s.Endpoints[1].Marks {
			t.Error("marks are not shared by those who have the same")
		}
		if n := f.queries(); n != 4 {
			t.Errorf("%d queries, want the list read once, and the wait for its change", n)
		}
		again := mark(onRack0, isPassing, "Service.Nope == 1")
		if again != s || f.queries() != 4 {
			t.Error("the same filters changed something")
		}
		s = mark(onRack1, isPassing)
		wantIn(t, s, onRack1, "i001", "i003")
		if _, ok := in(s, onRack0); ok || f.queries() != 4 {
			t.Errorf("after a change of filters, %d queries: %s", f.queries(), show(s))
		}
		close(changed)
		pass(50 * time.Millisecond)
		s = w.last()
		wantIn(t, s, isPassing, "i001", "i002", "i003")
		for _, x := range w.seen() { // atomic: never the one without the other
			if len(x.Endpoints) == 0 || x.Endpoints[0].Marks == nil {
				continue
			}
			if yes, ok := x.Endpoints[0].Marked(isPassing); !ok || yes == (x.Endpoints[0].Health == resolver.Warning) {
				t.Errorf("health and marks are not of one moment: %s", show(x))
			}
		}
		f.set(func(question) response { return response{status: 500, body: "No cluster leader"} })
		pass(40 * time.Second)
		if s := mark(onRack0); s.State != resolver.Stale {
			t.Errorf("without Consul: %s", show(s))
		} else {
			wantIn(t, s, onRack0, "i000", "i002")
		}
		if s := mark(); s.Endpoints[0].Marks != nil {
			t.Errorf("without filters: %s", show(s))
		}
		for v := range c.watches {
			v.view.mu.Lock()
			if v.view.list.instances[0].record != nil {
				t.Error("records stay though nobody filters")
			}
			v.view.mu.Unlock()
		}
	})
}

// Filters that are there before the watch mark the first list already.
func TestMarksBeforeWatch(t *testing.T) {
	t.Parallel()
	bubble(t, Config{}, steps(response{index: 9, body: racked(2, "passing")}), func(t *testing.T, f *fake, c *Catalog) {
		if err := c.Mark("web", []string{onRack1}); err != nil {
			t.Fatal(err)
		}
		w := read(t, c, "web")
		pass(50 * time.Millisecond)
		wantIn(t, w.last(), onRack1, "i001")
		for _, s := range w.seen() {
			if s.State == resolver.Known && s.Endpoints[0].Marks == nil {
				t.Errorf("a list without marks: %s", show(s))
			}
		}
		if n := f.queries(); n != 2 {
			t.Errorf("%d queries, want 2", n)
		}
	})
}

// An entry that filters cannot be decided on stays, without marks, and is named.
func TestMarksOfMalformed(t *testing.T) {
	t.Parallel()
	body := strings.Replace(racked(2, "passing"), `"CheckID":"c"`, `"CheckID":7`, 1)
	bubble(t, Config{}, steps(response{index: 9, body: body}), func(t *testing.T, _ *fake, c *Catalog) {
		if err := c.Mark("web", []string{isPassing}); err != nil {
			t.Fatal(err)
		}
		s := read(t, c, "web").last()
		if len(s.Endpoints) != 2 || s.Endpoints[0].Marks != nil || !strings.Contains(fmt.Sprint(s.SkippedReasons), "filters cannot be decided") {
			t.Fatalf("got %s %q", show(s), s.SkippedReasons)
		}
		if yes, ok := s.Endpoints[1].Marked(isPassing); !yes || !ok {
			t.Error("its neighbour has no marks")
		}
	})
}

// Filters on addresses that the agent has translated are told of.
func TestMarksOfTranslated(t *testing.T) {
	t.Parallel()
	answer := steps(response{index: 9, body: racked(2, "passing"), header: map[string]string{"X-Consul-Translate-Addresses": "true"}})
	for filter, want := range map[string]bool{`Service.Port == 1001`: true, onRack1: false} {
		bubble(t, Config{Datacenter: "gcp"}, answer, func(t *testing.T, _ *fake, c *Catalog) {
			if err := c.Mark("web", []string{filter}); err != nil {
				t.Fatal(err)
			}
			s := read(t, c, "web").last()
			wantIn(t, s, filter, "i001")
			if told := strings.Contains(fmt.Sprint(s.SkippedReasons), "translate_wan_addrs"); told != want {
				t.Errorf("%s: %q", filter, s.SkippedReasons)
			}
		})
	}
}
