package balancer

import (
	"math"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

// spareNode is a node that is connected and takes no traffic: its endpoint is
// still in the catalog and lost its place. It comes back without a handshake.
type spareNode struct {
	node  *Node
	until time.Time
}

// wants sets how many nodes each tier wants and chooses them where that, or the
// endpoints, changed.
func (b *Balancer) wants() {
	warm := b.cfg.WarmConns
	if !b.warm {
		// Handshakes with other clouds wait until the first tier has an answer.
		if until := b.began.Add(warmAfter); b.served || b.err != nil || !until.After(b.now) {
			b.warm = true
		} else {
			warm = 0
			b.due(until)
		}
	}
	for _, t := range b.tiers {
		if len(t.changes) > 0 {
			t.all = merged(t.all, t.changes)
			t.changes = nil
		}
		want := warm
		if t.spill.share > 0 {
			want = b.cfg.SubsetSize
		} else if want > b.cfg.SubsetSize && b.cfg.SubsetSize > 0 {
			want = b.cfg.SubsetSize
		}
		b.replaceFailed(t)
		if want != t.want {
			t.want, t.dirty = want, true
		}
		if t.dirty {
			b.choose(t)
		}
	}
}

// reconcile makes the nodes of the tiers match what they want, and returns the
// nodes to be closed after the next publish.
func (b *Balancer) reconcile() (closing []*Node) {
	leaving := map[resolver.ID]*Node{}
	kept := make([][]*Node, len(b.tiers))
	for i, t := range b.tiers {
		if t.dirty {
			kept[i], closing = b.keep(t, leaving, closing)
		}
	}
	for i, t := range b.tiers {
		if t.dirty {
			b.fill(t, kept[i], leaving)
			t.dirty = false
		}
	}
	for id, n := range leaving {
		n.tier = nil
		if ep := find(b.list, id); ep != nil && sameConn(n.Endpoint(), ep) && n.failedAt.IsZero() {
			b.refresh(n, ep)
			b.spare[id] = spareNode{n, b.now.Add(lingerAfter)}
			continue
		}
		closing = append(closing, n)
	}
	for id, s := range b.spare {
		ep := find(b.list, id)
		if ep == nil || !sameConn(s.node.Endpoint(), ep) || !s.until.After(b.now) {
			delete(b.spare, id)
			closing = append(closing, s.node)
			continue
		}
		b.refresh(s.node, ep)
		b.due(s.until)
	}
	return closing
}

// keep matches the tier's nodes with the wanted endpoints, both sorted. The
// result is parallel to t.wanted, nil where a node is missing.
func (b *Balancer) keep(t *tier, leaving map[resolver.ID]*Node, closing []*Node) ([]*Node, []*Node) {
	kept := make([]*Node, len(t.wanted))
	i, changed := 0, len(t.wanted) != len(t.nodes)
	for j, ep := range t.wanted {
		for i < len(t.nodes) && t.nodes[i].Endpoint() != ep && t.nodes[i].ID.Compare(ep.ID) < 0 {
			leaving[t.nodes[i].ID] = t.nodes[i]
			i, changed = i+1, true
		}
		if i == len(t.nodes) || t.nodes[i].ID != ep.ID {
			changed = true
			continue
		}
		n := t.nodes[i]
		i++
		if n.renew || !sameConn(n.Endpoint(), ep) {
			n.tier = nil
			closing, changed = append(closing, n), true
			continue
		}
		b.refresh(n, ep)
		kept[j] = n
	}
	for ; i < len(t.nodes); i++ {
		leaving[t.nodes[i].ID] = t.nodes[i]
		changed = true
	}
	if !changed {
		return nil, closing
	}
	return kept, closing
}

// fill finds or makes the missing nodes. kept is nil if nothing is missing.
func (b *Balancer) fill(t *tier, kept []*Node, leaving map[resolver.ID]*Node) {
	if kept == nil {
		return
	}
	for j, ep := range t.wanted {
		if kept[j] != nil {
			continue
		}
		n := leaving[ep.ID]
		if n != nil && sameConn(n.Endpoint(), ep) {
			delete(leaving, ep.ID)
		} else if s := b.spare[ep.ID]; s.node != nil && sameConn(s.node.Endpoint(), ep) {
			n = s.node
			delete(b.spare, ep.ID)
		} else {
			n = b.connect(t, ep)
		}
		if _, ok := b.fresh[ep]; ok {
			b.slowStart(n)
		}
		n.tier = t
		b.refresh(n, ep)
		kept[j] = n
	}
	t.nodes = kept
}

// connect makes the node of an endpoint.
func (b *Balancer) connect(t *tier, ep *resolver.Endpoint) *Node {
	n := &Node{ID: ep.ID, tier: t, load: b.cfg.Store.acquire(ep.ID), invDecay: b.inv, unproven: len(t.bench) > 0}
	if b.bounded {
		n.total = &b.inflight
	}
	n.endpoint.Store(ep)
	n.weight.Store(math.Float32bits(float32(weightOf(ep))))
	n.observe = b.cfg.Observe
	b.watch(n)
	n.conn = b.tr.Connect(n)
	return n
}

// refresh gives a node the newest description of its endpoint.
func (b *Balancer) refresh(n *Node, ep *resolver.Endpoint) {
	if old := n.Endpoint(); old != ep {
		n.endpoint.Store(ep)
		if _, ok := b.fresh[ep]; ok {
			b.slowStart(n)
		}
		if weightOf(old) != weightOf(ep) {
			b.setWeight(n)
		}
	}
}
