package chain

import (
	"strings"

	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/internal/bexpr"
)

// maxSubsetFilter bounds the text of a subset's filter.
const maxSubsetFilter = bexpr.MaxLength

// Filter is a compiled subset filter of a target: which endpoints belong to it. It
// evaluates bexpr as Consul does. The zero value is nothing; make it with [NewFilter].
type Filter struct {
	expr     string
	own      *carried // nil: everything, unless none
	none     bool     // what an endpoint carries selects nothing
	remote   bool
	residual Residency
}

// NewFilter compiles the subset of a target, and where its endpoints may be.
//
// A filter is decided on what an endpoint carries if that is all that the filter reads:
// Service.Meta, Service.Tags, Service.ID and Node.Node. Any other is Remote: the marks
// of the endpoint decide, which its source makes if it is asked to. For an endpoint
// without such a mark what it carries has to do: its service, address and port, and the
// target's datacenter and peer. The problems say where that is not enough, in which case
// the filter matches nothing, so that a call does not reach an instance outside of its
// subset. They do not hold for sources that make marks.
//
// A filter that Consul refuses is a problem, and matches nothing anywhere.
func NewFilter(t *Target, may Residency) (*Filter, []Problem) {
	f := &Filter{expr: t.Subset.Filter, residual: may}
	if strings.TrimSpace(f.expr) == "" {
		return f, nil
	}
	var bad problems
	tell := func(why string) { bad.add(kindResolver, t.Service, "Subsets["+t.ServiceSubset+"].Filter", why) }
	compiled, err := bexpr.Compile(f.expr)
	if err != nil {
		f.none = true
		tell(clip(err.Error()) + "; the filter matches nothing")
		return f, bad.list
	}
	var missing string
	f.own = carry(compiled, t, &missing)
	f.remote = f.own.remote
	switch {
	case missing != "":
		f.own, f.none = nil, true
		tell("an endpoint does not carry " + clip(missing) + "; the filter matches nothing where the source of an endpoint does not decide it")
	case f.own.dialled:
		tell("Service.Address and Service.Port are compared with the address that is dialled, where the source of an endpoint does not decide the filter")
	}
	return f, bad.list
}

// Remote reports whether the source of an endpoint knows better which endpoints belong
// to the subset: ask it for marks by Expression, with [resolver.Marker].
func (f *Filter) Remote() bool { return f.remote }

// Expression is the filter as it was written.
func (f *Filter) Expression() string { return f.expr }

// Match reports whether an endpoint belongs to the subset, whatever its health.
func (f *Filter) Match(e *resolver.Endpoint) bool {
	if f.remote {
		if in, ok := e.Marked(f.expr); ok {
			return in
		}
	}
	if f.own == nil {
		return !f.none
	}
	return f.own.match(e)
}

// Allowed reports whether an endpoint is where it may be.
func (f *Filter) Allowed(e *resolver.Endpoint) bool { return f.residual.Allows(e.Locality) }
