package balancer

import (
	"math"
	"slices"
	"sort"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

// score is the endpoint's place in this client's order (weighted rendezvous
// hashing, -w/ln u): the k highest are its subset. Each endpoint's score depends
// on nothing but itself and the client, so a change moves only its own place.
func (b *Balancer) score(ep *resolver.Endpoint) float64 {
	u := (float64(mix64(hashID(ep.ID)^b.seed)>>11) + 0.5) / (1 << 53)
	return -float64(weightOf(ep)) / math.Log(u)
}

// candidates are the first eligible endpoints of a tier in the order of score:
// enough that most changes need no look at the others.
type candidates struct {
	list  []candidate
	limit int
	full  bool // list has all of them
}

type candidate struct {
	score float64
	ep    *resolver.Endpoint
}

func (c *candidates) add(ep *resolver.Endpoint, score float64) {
	i := sort.Search(len(c.list), func(i int) bool { return c.list[i].score < score })
	if i == len(c.list) && (!c.full || i == c.limit) {
		c.full = false
		return
	}
	c.list = slices.Insert(c.list, i, candidate{score, ep})
	if len(c.list) > c.limit {
		c.list = slices.Delete(c.list, c.limit, len(c.list))
		c.full = false
	}
}

func (c *candidates) remove(ep *resolver.Endpoint) {
	for i := range c.list {
		if c.list[i].ep == ep {
			c.list = slices.Delete(c.list, i, i+1)
			return
		}
	}
}

// rescan fills the candidates of a tier from the whole list, without the benched.
func (b *Balancer) rescan(t *tier) {
	t.best.list, t.best.full = t.best.list[:0], true
	skipped := false
	for _, ep := range b.list {
		if !t.eligible(ep) || b.tierOf(ep) != t.key {
			continue
		}
		if _, benched := t.bench[ep.ID]; benched {
			skipped = true
			continue
		}
		t.best.add(ep, b.score(ep))
	}
	t.best.full = t.best.full && !skipped
}

// choose computes the endpoints that a tier wants connected, sorted by identity.
func (b *Balancer) choose(t *tier) {
	t.wanted = nil
	switch {
	case b.cfg.SubsetSize < 0 && t.want < 0: // everything that is eligible
		t.wanted = make([]*resolver.Endpoint, 0, t.eligibles())
		for _, ep := range t.all {
			if t.eligible(ep) {
				t.wanted = append(t.wanted, ep)
			}
		}
		return
	case t.want == 0:
		return
	case b.cfg.SubsetSize < 0:
		best := candidates{limit: t.want, full: true}
		for _, ep := range t.all {
			if t.eligible(ep) {
				best.add(ep, b.score(ep))
			}
		}
		for _, c := range best.list {
			t.wanted = append(t.wanted, c.ep)
		}
	default:
		t.wanted = t.take()
		if len(t.wanted) < t.want && !t.best.full {
			b.rescan(t)
			t.wanted = t.take()
		}
	}
	slices.SortFunc(t.wanted, func(a, b *resolver.Endpoint) int { return a.ID.Compare(b.ID) })
}

// take is the first candidates that are not benched.
func (t *tier) take() (out []*resolver.Endpoint) {
	for _, c := range t.best.list {
		if _, benched := t.bench[c.ep.ID]; !benched && len(out) < t.want {
			out = append(out, c.ep)
		}
	}
	return out
}

// replaceFailed benches nodes that cannot be connected for long, so that the
// next in the order of score take their places for a while.
func (b *Balancer) replaceFailed(t *tier) {
	for id, until := range t.bench {
		if !until.After(b.now) {
			delete(t.bench, id)
			t.dirty, t.best.full, t.best.list = true, false, t.best.list[:0] // look at all again
		} else {
			b.due(until)
		}
	}
	if b.cfg.SubsetSize < 0 {
		return
	}
	limit := benchAfter
	if t.live > 0 {
		t.alone = benchAlone
	} else {
		limit = t.alone
	}
	others := t.eligibles() - len(t.nodes) - len(t.bench)
	benched, failed := 0, 0
	for _, n := range t.nodes {
		if n.failedAt.IsZero() {
			continue
		}
		failed++
		switch wait := n.failedAt.Add(limit); {
		case wait.After(b.now):
			if others > 0 || len(t.bench) > 0 {
				b.due(wait)
			}
		case others > benched && len(t.bench) < maxBench:
			if t.bench == nil {
				t.bench = map[resolver.ID]time.Time{}
			}
			t.bench[n.ID] = b.now.Add(benchFor)
			b.due(b.now.Add(benchFor))
			benched++
		case benched == 0 && t.live == 0 && failed == len(t.nodes) && len(t.bench) > 0:
			// Everyone had a turn and nobody can be reached: start over.
			clear(t.bench)
			t.dirty, t.best.full, t.best.list = true, false, t.best.list[:0]
			benched++
		}
	}
	if benched > 0 {
		t.dirty = true
		if t.live == 0 {
			t.alone = min(2*t.alone, maxAlone)
		}
	}
}
