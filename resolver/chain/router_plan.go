package chain

import (
	"strings"
	"time"
)

// Plan is how a call is made. It is shared by all calls that are decided alike,
// and not to be changed.
type Plan struct {
	// Target is where the call goes, and Failover where it goes when that has no
	// healthy instance, in this order.
	Target   *Target
	Failover []*Target
	// Route is the index of the route that matched; -1: the chain has no router.
	Route int
	// Branch is the index of the split; -1: there is none.
	Branch int
	// RequestEdits and ResponseEdits change headers, in their order.
	RequestEdits, ResponseEdits Edits
	// RequestTimeout bounds the call with its repeats, and IdleTimeout the time in
	// which nothing happens. 0: the chain does not say, the profile holds; negative: none.
	RequestTimeout, IdleTimeout time.Duration
	// ConnectTimeout bounds the making of a connection. 0: the profile's.
	ConnectTimeout time.Duration
	// Retry says when the call is repeated. nil: the chain does not say.
	Retry *RetryRule
	// LoadBalancer is how an instance of Target is chosen. nil: the caller's default.
	LoadBalancer *LoadBalancer

	rewrite string
	cut     int  // bytes of the path that rewrite replaces
	whole   bool // it replaces all
	hash    []hashPolicy
	arm     *arm
}

// Rewrites reports whether Rewrite changes paths.
func (p *Plan) Rewrites() bool { return p.rewrite != "" }

// Rewrite is the path to send: PrefixRewrite instead of the prefix that matched.
// As in Envoy the rest is not touched, so that "/a" rewritten to "/" makes "//b" of
// "/a/b".
func (p *Plan) Rewrite(path string) string {
	switch {
	case p.rewrite == "":
		return path
	case p.whole || p.cut > len(path):
		return p.rewrite
	}
	return p.rewrite + path[p.cut:]
}

// Done tells the guard how an attempt to Target ended and how long it took. It is
// for outcomes that speak of the instance: leave out a caller's own cancel.
func (p *Plan) Done(failed bool, took time.Duration) {
	if p.arm != nil {
		p.arm.observe(failed, took)
	}
}

// EditOp is what an Edit does.
type EditOp uint8

const (
	// Remove takes the header away.
	Remove EditOp = iota
	// Set replaces all its values by one.
	Set
	// Add adds a value.
	Add
)

// String is "remove", "set" or "add".
func (o EditOp) String() string {
	switch o {
	case Remove:
		return "remove"
	case Set:
		return "set"
	}
	return "add"
}

// Edit is one change of a header. Name is in lower case, as gRPC has it, and
// Canonical as net/http writes it. Op is what is done with Value.
type Edit struct {
	Op        EditOp
	Name      string
	Canonical string
	Value     string
}

// Edits are changes of headers in their order: those of the split, then those of
// the route; of each first what is removed, then what is set, then what is added,
// as Envoy does.
type Edits []Edit

// String is one line per edit.
func (e Edits) String() string {
	var b strings.Builder
	for _, x := range e {
		b.WriteString(x.Op.String() + " " + x.Name)
		if x.Op != Remove {
			b.WriteString(": " + x.Value)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Host is the host that an edit sets, or nothing.
func (e Edits) Host() string {
	for i := len(e) - 1; i >= 0; i-- {
		if e[i].Name == "host" {
			return e[i].Value
		}
	}
	return ""
}
