package telemetry

import (
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
)

// maxCounts bounds the counters of events; rules and services come from outside.
const maxCounts = 1024

// counts are counters of events that are rare next to calls.
type counts struct {
	mu sync.RWMutex
	by map[countKey]*count
}

// countKey is a metric with up to two attributes' values.
type countKey struct{ metric, a, b string }

type count struct{ n atomic.Uint64 }

// add1 counts one event. What is beyond the bound counts under Other.
func (r *Registry) add1(k countKey) {
	c := &r.counts
	c.mu.RLock()
	n := c.by[k]
	c.mu.RUnlock()
	if n == nil {
		c.mu.Lock()
		if n = c.by[k]; n == nil {
			if len(c.by) >= maxCounts {
				r.overflow.Add(1)
				k = countKey{metric: k.metric, a: Other}
			}
			if n = c.by[k]; n == nil {
				n = &count{}
				c.by[k] = n
			}
		}
		c.mu.Unlock()
	}
	n.n.Add(1)
}

// countAttrs names the values of a countKey.
var countAttrs = map[string][2]string{
	AuthzDecisions:     {AttrResult, AttrRule},
	Ejections:          {AttrService},
	HandshakesRejected: {AttrErrorType},
	ConfigRejected:     {AttrSource, AttrRule},
	RetroactiveDropped: {},
}

func (c *counts) each(emit Emit) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for k, n := range c.by {
		var attrs []attribute.KeyValue
		for i, v := range [...]string{k.a, k.b} {
			if name := countAttrs[k.metric][i]; name != "" {
				attrs = append(attrs, attribute.String(name, v))
			}
		}
		emit(k.metric, float64(n.n.Load()), attrs...)
	}
}

// Authz counts an authorization decision: result is "allow", "deny" or "audit",
// rule the name of the rule that decided; empty: the default. A nil Registry
// counts nothing, here and in the methods below.
func (r *Registry) Authz(result, rule string) {
	if r != nil {
		r.add1(countKey{metric: AuthzDecisions, a: result, b: rule})
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
