package balancer

import (
	"slices"
	"sort"

	"github.com/weft-mesh/weft/resolver"
)

// change is what became of one endpoint: joined (was is nil), left (now is nil) or changed.
type change struct{ was, now *resolver.Endpoint }

// diff calls f for each difference of two sorted lists, in the order of
// identities. Unchanged endpoints cost one comparison of pointers.
func diff(was, now []*resolver.Endpoint, f func(change)) {
	i := 0
	for _, ep := range now {
		if i < len(was) && was[i] == ep {
			i++
			continue
		}
		order := -1
		for i < len(was) {
			if order = was[i].ID.Compare(ep.ID); order >= 0 {
				break
			}
			f(change{was[i], nil})
			i++
		}
		if i < len(was) && order == 0 {
			f(change{was[i], ep})
			i++
			continue
		}
		f(change{nil, ep})
	}
	for ; i < len(was); i++ {
		f(change{was[i], nil})
	}
}

// sorted returns now, or a repaired copy if a catalog broke its contract:
// without nils, sorted, the first of duplicates. was is a list that is in order;
// what now has in common with it is not compared again.
func sorted(was, now []*resolver.Endpoint) []*resolver.Endpoint {
	i, same := 0, false
	for j, ep := range now {
		if ep == nil {
			return repaired(now)
		}
		for i < len(was) && was[i] != ep && was[i].ID.Compare(ep.ID) < 0 {
			i++
		}
		known := i < len(was) && was[i] == ep
		if j > 0 && !(known && same) && now[j-1].ID.Compare(ep.ID) >= 0 {
			return repaired(now)
		}
		if same = known; known {
			i++
		}
	}
	return now
}

// kept is the list without the endpoints that Config.Rank leaves out.
func (b *Balancer) kept(list []*resolver.Endpoint) []*resolver.Endpoint {
	if b.cfg.Rank == nil {
		return list
	}
	out := make([]*resolver.Endpoint, 0, len(list))
	for _, ep := range list {
		if b.cfg.Rank(ep) >= 0 {
			out = append(out, ep)
		}
	}
	b.outside = len(list) - len(out)
	return out
}

func repaired(now []*resolver.Endpoint) []*resolver.Endpoint {
	out := slices.DeleteFunc(slices.Clone(now), func(ep *resolver.Endpoint) bool { return ep == nil })
	slices.SortStableFunc(out, func(a, b *resolver.Endpoint) int { return a.ID.Compare(b.ID) })
	return slices.CompactFunc(out, func(a, b *resolver.Endpoint) bool { return a.ID == b.ID })
}

// find is the endpoint of a sorted list with an identity, or nil.
func find(list []*resolver.Endpoint, id resolver.ID) *resolver.Endpoint {
	i := sort.Search(len(list), func(i int) bool { return list[i].ID.Compare(id) >= 0 })
	if i < len(list) && list[i].ID == id {
		return list[i]
	}
	return nil
}

// merged is list with changes made; both are sorted. list is not written.
func merged(list []*resolver.Endpoint, changes []change) []*resolver.Endpoint {
	out := make([]*resolver.Endpoint, 0, len(list)+len(changes))
	i := 0
	for _, ch := range changes {
		id := resolver.ID{}
		if ch.was != nil {
			id = ch.was.ID
		} else {
			id = ch.now.ID
		}
		k := i + sort.Search(len(list)-i, func(k int) bool { return list[i+k].ID.Compare(id) >= 0 })
		out = append(out, list[i:k]...)
		if i = k; i < len(list) && list[i].ID == id {
			i++
		}
		if ch.now != nil {
			out = append(out, ch.now)
		}
	}
	return append(out, list[i:]...)
}

// sameConn reports whether a connection made for a still serves b. Weight,
// health, locality and metadata are no part of a connection.
func sameConn(a, b *resolver.Endpoint) bool {
	return a == b || a.Addr == b.Addr && a.Protocol == b.Protocol && a.SPIFFEID == b.SPIFFEID
}
