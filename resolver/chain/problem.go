package chain

import "strings"

// Problem is something that an entry says and that is not done, or not as it says
// it. The chain works without it; whoever wrote the entry must hear of it.
type Problem struct {
	// Kind and Name are of the config entry to look at, for example "service-router"
	// and "web". Of a service that is reached through a router or a splitter the
	// entry may be that service's own.
	Kind, Name string
	// Source is the file of the entry; empty: it is not known, or there is none.
	Source string
	// Field is the path of the field in the entry, "Routes[2].Destination.IdleTimeout",
	// or in the answer of Consul, "Chain.Nodes[…]", or a weft- key.
	Field string
	// Why says what is not done, and what to write instead if there is something.
	Why string
}

// String is "kind/name: field: why", after the source if that is known.
func (p Problem) String() string {
	if p.Source != "" {
		p.Kind = p.Source + ": " + p.Kind
	}
	return p.Kind + "/" + p.Name + ": " + p.Field + ": " + p.Why
}

// The kinds of config entries that problems name.
const (
	kindRouter   = KindServiceRouter
	kindSplitter = KindServiceSplitter
	kindResolver = KindServiceResolver
	kindDefaults = KindServiceDefaults
	kindChain    = "discovery-chain"
)

// maxProblems bounds how many problems of one chain are told.
const maxProblems = 256

// problems collects, each only once.
type problems struct {
	list []Problem
	seen map[Problem]bool
}

func (p *problems) add(kind, name, field, why string) {
	q := Problem{Kind: kind, Name: clip(name), Field: clip(field), Why: why}
	if p.seen[q] || len(p.list) >= maxProblems {
		return
	}
	if p.seen == nil {
		p.seen = map[Problem]bool{}
	}
	p.seen[q] = true
	p.list = append(p.list, q)
}

// clip bounds foreign text that goes into an error, and takes control bytes out.
func clip(s string) string {
	if len(s) > 128 {
		s = s[:128] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}
