package consul

import (
	"errors"
	"testing"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

func list3(index uint64) response { return response{index: index, body: instances(3)} }

func TestIndexRules(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		script []response
		want   func(*resolver.Snapshot) bool
		asked  int // by the end, the last one blocking
		never  func(*resolver.Snapshot) bool
	}{
		{"growing index is applied", []response{list3(5), {index: 6, body: instances(4)}}, known(4), 3, known(0)},
		{"equal index is ignored whatever the body says", []response{list3(5), {index: 5}, {index: 5}}, known(3), 4, known(0)},
		{"lower index is confirmed from zero", []response{list3(50), {index: 9}, list3(10)}, known(3), 4, known(0)},
		{"a list with a lower index is not applied", []response{list3(50), {index: 9, body: instances(4)}, list3(51)}, known(3), 4, known(4)},
		{"lower index and a confirmed state loss", []response{list3(50), {index: 9}, {index: 10}, {index: 10}}, known(0), 5, stale(3)},
		{"an empty list that is not confirmed", []response{list3(5), {index: 6}, list3(7)}, known(3), 4, known(0)},
		{"an empty list that is confirmed", []response{list3(5), {index: 6}, {index: 6}}, known(0), 4, stale(3)},
		{"a mass removal that is not confirmed", []response{list3(5), {index: 6, body: instances(1)}, list3(7)}, known(3), 4, known(1)},
		{"half is left: believed at once", []response{{index: 5, body: instances(4)}, {index: 6, body: instances(2)}}, known(2), 3, known(0)},
		{"a first empty list is known to be empty", []response{{index: 5}}, known(0), 2, stale(0)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			bubble(t, Config{}, steps(tt.script...), func(t *testing.T, f *fake, c *Catalog) {
				w := read(t, c, "web")
				pass(5 * time.Second) // less than a wait
				if s := w.last(); !tt.want(s) {
					t.Errorf("got %s", show(s))
				}
				for _, s := range w.seen() {
					if tt.never(s) {
						t.Errorf("delivered %s", show(s))
					}
				}
				if n := f.queries(); n != tt.asked {
					t.Errorf("%d queries, want %d", n, tt.asked)
				}
			})
		})
	}
}

// TestNoSpinning: a source that answers at once, whatever was asked, must not be
// asked without end.
func TestNoSpinning(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		next func(uint64) uint64
		most int // queries in ten minutes
	}{
		{"index 0", func(uint64) uint64 { return 0 }, 400},
		{"index 1", func(uint64) uint64 { return 1 }, 400},
		{"equal index", func(uint64) uint64 { return 8 }, 400},
		{"index jumps back and forth", func(i uint64) uint64 { return 20 - min(i, 20) }, 1200},
		{"index always grows", func(i uint64) uint64 { return i + 2 }, 128 + 4*600 + 10},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			bubble(t, Config{}, func(q question) response { return list3(tt.next(q.index)) }, func(t *testing.T, f *fake, c *Catalog) {
				w := read(t, c, "web")
				pass(10 * time.Minute)
				if s := w.last(); !known(3)(s) {
					t.Errorf("got %s", show(s))
				}
				if n := f.queries(); n > tt.most {
					t.Errorf("%d queries in ten minutes, want at most %d", n, tt.most)
				}
			})
		})
	}
}

func TestEmptyAtIndexOneIsNotBelieved(t *testing.T) {
	t.Parallel()
	answer := func(q question) response {
		if q.n == 0 {
			return list3(5)
		}
		return response{index: 1}
	}
	bubble(t, Config{}, answer, func(t *testing.T, f *fake, c *Catalog) {
		w := read(t, c, "web")
		pass(time.Minute)
		s := w.last()
		if !stale(3)(s) || !errors.Is(s.Reason, ErrImplausible) {
			t.Errorf("got %s", show(s))
		}
		f.set(func(q question) response { return block(q, response{index: 9, body: instances(2)}) })
		pass(6 * time.Second)
		if s := w.last(); !known(2)(s) {
			t.Errorf("after recovery: %s", show(s))
		}
	})
}

// TestFlapping: drill D4, an agent that alternates between an outage, state loss
// and the real list.
func TestFlapping(t *testing.T) {
	t.Parallel()
	bubble(t, Config{}, func(q question) response { return block(q, list3(100)) }, func(t *testing.T, f *fake, c *Catalog) {
		w := read(t, c, "web")
		first := w.until("is known", known(3)).Endpoints
		for i := range 30 {
			f.set(func(q question) response {
				switch i % 3 {
				case 0:
					return response{status: 500, body: "No cluster leader"}
				case 1:
					return list3(uint64(10 + i))
				}
				return block(q, list3(200))
			})
			pass(4 * time.Second)
		}
		for _, s := range w.seen()[1:] {
			if len(s.Endpoints) != 3 {
				if s.State == resolver.Unknown {
					continue
				}
				t.Fatalf("delivered %s", show(s))
			}
			for i, e := range s.Endpoints {
				if e.SPIFFEID == first[i].SPIFFEID && e != first[i] {
					t.Fatal("an unchanged endpoint got a new pointer")
				}
			}
		}
	})
}

// TestBurstIsCoalesced: many changes at once cost few queries, the first one none of its speed.
func TestBurstIsCoalesced(t *testing.T) {
	t.Parallel()
	var start chan time.Time // of the bubble
	answer := func(q question) response {
		if q.n == 0 {
			return list3(10)
		}
		at := <-start // when the burst began
		start <- at
		index := 10 + uint64(time.Since(at)/time.Millisecond) + 1
		if index > 1010 {
			if q.index < 1010 {
				return response{index: 1010, body: instances(4)}
			}
			return block(q, response{index: 1010})
		}
		return response{index: index, body: instances(3 + int(index)%2)}
	}
	bubble(t, Config{}, answer, func(t *testing.T, f *fake, c *Catalog) {
		start = make(chan time.Time, 1)
		w := read(t, c, "web")
		pass(time.Second)
		began := time.Now()
		start <- began
		pass(50 * time.Millisecond)
		if n := len(w.last().Endpoints); n != 4 {
			t.Errorf("50 ms after the first change there are %d endpoints", n)
		}
		pass(5 * time.Second)
		if s := w.last(); !known(4)(s) {
			t.Errorf("after the burst: %s", show(s))
		}
		if n := f.queries(); n > 130 {
			t.Errorf("%d queries for a burst of 1000 changes in a second", n)
		}
	})
}
