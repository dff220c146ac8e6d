package chain

import (
	"math/bits"
	"math/rand/v2"
	"strconv"
)

// sourceKind is where a key comes from.
type sourceKind uint8

const (
	headerSource sourceKind = iota
	cookieSource
	querySource
	ipSource
)

// hashSource is one place of a key.
type hashSource struct {
	kind sourceKind
	name string
	at   *headerName // of the header, or of the header with cookies
}

// hashPolicy is a compiled HashPolicy.
type hashPolicy struct {
	hashSource
	cookie   *CookieConfig
	terminal bool
}

// hash is the hash of the source in a request. All values of a header count, in
// any order.
func (s *hashSource) hash(rd *reading) (h uint64, ok bool) {
	switch s.kind {
	case headerSource:
		values := rd.header(s.at)
		for _, v := range values {
			h += hashString(v)
		}
		return h, len(values) > 0
	case cookieSource:
		for _, line := range rd.header(s.at) {
			if v, ok := cookieValue(line, s.name); ok {
				return hashString(v), true
			}
		}
	case querySource:
		if v, ok := queryValue(rd.req.Query, s.name); ok {
			return hashString(v), true
		}
	case ipSource:
		if rd.req.SourceIP != "" {
			return hashString(rd.req.SourceIP), true
		}
	}
	return 0, false
}

// hashKey joins the keys of the policies in their order, as Envoy does: a terminal
// one ends the list if there is a key, its own or an earlier one.
func hashKey(list []hashPolicy, rd *reading) (key uint64, ok bool, set *Cookie) {
	for i := range list {
		p := &list[i]
		h, has := p.hash(rd)
		if !has && p.kind == cookieSource && p.cookie != nil && (p.cookie.Session || p.cookie.TTL > 0) && set == nil {
			set = &Cookie{Name: p.name, Value: strconv.FormatUint(rand.Uint64(), 16), Path: p.cookie.Path, TTL: p.cookie.TTL}
			if p.cookie.Session {
				set.TTL = 0
			}
			h, has = hashString(set.Value), true
		}
		if has {
			if ok {
				h ^= bits.RotateLeft64(key, 1)
			}
			key, ok = h, true
		}
		if p.terminal && ok {
			break
		}
	}
	return key, ok, set
}

// hashString is FNV-1a with the final mix of splitmix64: the same in all processes
// and releases, and that of package balancer.
func hashString(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return mix(h)
}

func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
