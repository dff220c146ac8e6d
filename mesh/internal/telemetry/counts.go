package telemetry

import (
	"maps"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
)

// maxCounts bounds the counters of events; rules and services come from outside.
const maxCounts = 1024

// counts are counters of events. Some come with each call, so a counter that is there
// is found without a lock; a new one replaces the map.
type counts struct {
	mu sync.Mutex // of writers
	by atomic.Pointer[map[countKey]*count]
}

// countKey is a metric with up to two attributes' values.
type countKey struct{ metric, a, b string }

type count struct{ n atomic.Uint64 }

// add1 counts one event. What is beyond the bound counts under Other.
func (r *Registry) add1(k countKey) {
	n := (*r.counts.by.Load())[k]
	if n == nil {
		n = r.newCount(k)
	}
	n.n.Add(1)
}

func (r *Registry) newCount(k countKey) *count {
	c := &r.counts
	c.mu.Lock()
	defer c.mu.Unlock()
	old := *c.by.Load()
	if n := old[k]; n != nil {
		return n
	}
	if len(old) >= maxCounts {
		r.overflow.Add(1)
		k = countKey{metric: k.metric, a: Other}
		if n := old[k]; n != nil {
			return n
		}
	}
	by, n := maps.Clone(old), &count{}
	by[k] = n
	c.by.Store(&by)
	return n
}

// countAttrs names the values of a countKey.
var countAttrs = map[string][2]string{
	AuthzDecisions:     {AttrResult, AttrRule},
	EgressRejected:     {AttrResult, AttrErrorType},
	Ejections:          {AttrService},
	HandshakesRejected: {AttrErrorType},
	ConfigRejected:     {AttrSource, AttrRule},
	RetroactiveDropped: {},
}

func (c *counts) each(emit Emit) {
	for k, n := range *c.by.Load() {
		var attrs []attribute.KeyValue
		for i, v := range [...]string{k.a, k.b} {
			if name := countAttrs[k.metric][i]; name != "" {
				attrs = append(attrs, attribute.String(name, v))
			}
		}
		emit(k.metric, float64(n.n.Load()), attrs...)
	}
}

// Authz counts an authorization decision: result is an authz.Result, rule the name of
// the rule that decided. A nil Registry counts nothing, here and in the methods below.
func (r *Registry) Authz(result, rule string) {
	if r != nil {
		r.add1(countKey{metric: AuthzDecisions, a: result, b: rule})
	}
}

// Egress counts a call to the outside that was not allowed: result is an authz.Result,
// reason an authz.EgressReason. The host is the caller's choice, and no label.
func (r *Registry) Egress(result, reason string) {
	if r != nil {
		r.add1(countKey{metric: EgressRejected, a: result, b: reason})
	}
}

// Ejected counts an ejection of an endpoint.
func (r *Registry) Ejected(service string) {
	if r != nil {
		r.add1(countKey{metric: Ejections, a: service})
	}
}

// Handshake counts a caller refused in the handshake, by a short reason.
func (r *Registry) Handshake(reason string) {
	if r != nil {
		r.add1(countKey{metric: HandshakesRejected, a: reason})
	}
}

// Rejected counts configuration that cannot be honoured: where it came from and
// what kind of entry it is.
func (r *Registry) Rejected(source, kind string) {
	if r != nil {
		r.add1(countKey{metric: ConfigRejected, a: source, b: kind})
	}
}
