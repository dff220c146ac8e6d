package balancer

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

// told is what a Balancer tells of its load, one word each.
type told struct {
	mu  sync.Mutex
	all []Shift
}

func (l *told) add(s Shift) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, s)
}

func (l *told) take() (words []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.all {
		word := [...]string{"panic", "calm", "away", "back"}[s.Kind] + " " + s.From.Cloud
		if s.To.Cloud != "" {
			word += ">" + s.To.Cloud
		}
		if s.Closed {
			word += " closed"
		}
		words = append(words, word)
	}
	l.all = nil
	return words
}

func TestShifts(t *testing.T) {
	t.Parallel()
	near, far := eps(aws, "a", 10), eps(gcp, "g", 10)
	type step struct {
		update []*resolver.Snapshot
		wait   time.Duration
		want   string // comma list
	}
	for name, steps := range map[string][]step{
		"spill and back": {
			{[]*resolver.Snapshot{snapshotOf(near, far)}, time.Second, ""},
			{[]*resolver.Snapshot{snapshotOf(critical(near, 5), far)}, time.Second, "away aws>gcp"},
			{[]*resolver.Snapshot{snapshotOf(critical(near, 10), far)}, time.Second, ""},
			{[]*resolver.Snapshot{snapshotOf(near, far)}, time.Second, ""}, // nothing moves for 10 s
			{nil, 30 * time.Second, "back aws"},
		},
		"a loss that overprovision carries": {
			{[]*resolver.Snapshot{snapshotOf(near, far), snapshotOf(critical(near, 2), far)}, time.Second, ""},
		},
		"ill from the start": {
			{[]*resolver.Snapshot{snapshotOf(critical(near, 10), far)}, time.Second, "away aws>gcp"},
			{[]*resolver.Snapshot{snapshotOf(near, far)}, time.Minute, "back aws"},
		},
		"the preferred cloud comes later": {
			{[]*resolver.Snapshot{snapshotOf(far), snapshotOf(near, far)}, time.Minute, ""},
		},
		"the preferred cloud is taken out": {
			{[]*resolver.Snapshot{snapshotOf(near, far), snapshotOf(far)}, time.Second, "away aws>gcp"},
			{[]*resolver.Snapshot{snapshotOf(far, near)}, time.Minute, "back aws"},
		},
		"all is ill": {
			{[]*resolver.Snapshot{snapshotOf(near, far), snapshotOf(critical(near, 8), critical(far, 8))}, time.Second, "panic aws,away aws>gcp"},
			{[]*resolver.Snapshot{snapshotOf(near, far)}, time.Minute, "calm aws,back aws"},
		},
		"one cloud only": {
			{[]*resolver.Snapshot{snapshotOf(far), snapshotOf(critical(far, 10))}, time.Second, "panic gcp"},
			{[]*resolver.Snapshot{snapshotOf(far)}, time.Minute, "calm gcp"},
		},
		"closed": {
			{[]*resolver.Snapshot{snapshotOf(near, far), snapshotOf(critical(near, 8), critical(far, 8))}, time.Second, "panic aws,away aws>gcp"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var l told
				r := newRig(t, Config{Local: aws, OnShift: l.add})
				for i, s := range steps {
					for _, snap := range s.update {
						r.Update(snap)
						r.connectAll()
						r.advance(time.Millisecond)
					}
					r.advance(s.wait)
					if got := strings.Join(l.take(), ","); got != s.want {
						t.Errorf("step %d told %q, want %q", i+1, got, s.want)
					}
				}
				r.Close()
				got := l.take()
				if want := []string{"calm aws closed", "back aws closed"}; name == "closed" && !slices.Equal(got, want) || name != "closed" && got != nil {
					t.Errorf("Close told %q", got)
				}
			})
		})
	}
}

// What is told carries the figures.
func TestShiftSays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l told
		r := newRig(t, Config{Local: aws, OnShift: l.add})
		defer r.Close()
		near := eps(aws, "a", 10)
		far := with(eps(gcp, "g", 10), func(_ int, ep *resolver.Endpoint) { ep.Service = "backup" })
		r.Update(snapshotOf(near, far))
		r.connectAll()
		r.advance(time.Millisecond)
		r.Update(snapshotOf(critical(near, 5), far))
		r.advance(time.Millisecond)
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.all) != 1 {
			t.Fatalf("told %+v", l.all)
		}
		s := l.all[0]
		if s.Service != "pay" || s.ToService != "backup" || s.Share < 0.69 || s.Share > 0.71 || s.Healthy != 0.5 || s.Closed {
			t.Errorf("%+v", s)
		}
	})
}
