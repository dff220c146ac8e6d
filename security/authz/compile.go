package authz

import (
	"fmt"
	"slices"
	"sync/atomic"
)

// Scope says for which service rules are compiled, and who its callers can be.
type Scope struct {
	// Service is the name of the service that is called. Required.
	Service string
	// Namespace and Partition are its own; empty: "default".
	Namespace, Partition string
	// TrustDomain is our own: callers of it are those that intentions name without
	// a peer. Empty: nobody is.
	TrustDomain string
	// AnyDomain has the default policy cover callers of every trust domain, for a
	// server that has chosen in the handshake whom it accepts. False: our own.
	AnyDomain bool
	// Peers are the trust domains of cluster peerings by the peering's name, as
	// SourcePeer has it. nil: none, and intentions with a peer match nobody.
	Peers map[string]string
	// Tags and Metadata are what conditions see of the service. nil: none.
	Tags     []string
	Metadata map[string]string
	// Localities are where callers run, by the datacenter in their SPIFFE ID, for
	// conditions. nil: a caller's cloud is its datacenter.
	Localities map[string]Locality
}

// Locality is where a caller runs.
type Locality struct {
	// Cloud, Region and Zone, from large to small; empty: unknown.
	Cloud, Region, Zone string
}

// Policy is compiled rules for one service. It does not change.
type Policy struct {
	scope    Scope
	version  string
	fallback Action
	rules    []rule
	byKey    map[sourceKey]int
	byID     map[string]int
	blanket  []int             // rules for everybody, or for a name whatever else
	peers    map[string]string // by trust domain
	problems []error
	tokens   *tokens
	found    [32]atomic.Pointer[foundRule] // the latest callers
}

// rule is a compiled intention.
type rule struct {
	name     string
	action   Action
	l7       bool
	unread   string // deny, because
	perms    []permission
	jwt      *requirement
	anyName  bool // of a rule in blanket: every name
	sameName string
}

type permission struct {
	name   string
	action Action
	http   *matcher
	jwt    *requirement
	cond   *condition
}

// Compile makes rules ready for decisions. It always returns a policy; what it
// could not honour denies, and is listed in [Policy.Problems].
func Compile(r Rules, s Scope) *Policy { return compile(r, s, nil) }

func compile(r Rules, s Scope, keys keyRing) *Policy {
	s.Namespace, s.Partition = orDefault(s.Namespace), orDefault(s.Partition)
	p := &Policy{
		scope: s, version: r.Version, fallback: r.Default,
		byKey: map[sourceKey]int{}, byID: map[string]int{}, peers: map[string]string{},
	}
	for peer, td := range s.Peers {
		p.peers[td] = peer
	}
	p.tokens = newTokens(r.Providers, keys, p.problem)
	env := newConditions(s)
	list := make([]*Intention, 0, len(r.Intentions))
	for i := range r.Intentions {
		in := r.Intentions[i]
		in.SourceNS, in.DestinationNS = orDefault(in.SourceNS), orDefault(in.DestinationNS)
		in.SourcePartition, in.DestinationPartition = orDefault(in.SourcePartition), orDefault(in.DestinationPartition)
		if p.isFor(&in) {
			list = append(list, &in)
		}
	}
	slices.SortStableFunc(list, func(a, b *Intention) int {
		switch {
		case before(a, b):
			return -1
		case before(b, a):
			return 1
		}
		return 0
	})
	for _, in := range list {
		p.add(in, env)
	}
	return p
}

func orDefault(s string) string {
	if s == "" {
		return "default"
	}
	return s
}

// isFor reports whether an intention is about this service. One that does not say
// is.
func (p *Policy) isFor(in *Intention) bool {
	if in.DestinationName == "" {
		return true
	}
	return in.DestinationPartition == p.scope.Partition &&
		(in.DestinationNS == p.scope.Namespace || in.DestinationNS == wildcard) &&
		(in.DestinationName == p.scope.Service || in.DestinationName == wildcard)
}

// Problems are the parts of the rules that could not be honoured; they deny.
func (p *Policy) Problems() []error { return slices.Clone(p.problems) }

// Version is that of the rules.
func (p *Policy) Version() string { return p.version }

func (p *Policy) problem(err error) { p.problems = append(p.problems, err) }

func (p *Policy) add(in *Intention, env *conditions) {
	r := rule{name: in.String(), action: Deny, unread: in.Unreadable}
	i := len(p.rules)
	switch err := checkSource(in); {
	case err != nil:
		// Whom it is for is not sure, so it is for everybody who could be meant.
		if r.unread == "" {
			r.unread = err.Error()
		}
		r.anyName, r.sameName = in.SourceName == "" || in.SourceName == wildcard || in.SourceSamenessGroup == "", in.SourceName
		p.blanket = append(p.blanket, i)
	case in.SourceID != "":
		if _, ok := p.byID[in.SourceID]; !ok {
			p.byID[in.SourceID] = i
		}
	default:
		td := p.scope.TrustDomain
		partition := in.SourcePartition
		if in.SourcePeer != "" {
			if td = p.scope.Peers[in.SourcePeer]; td == "" {
				p.problem(fmt.Errorf("authz: %s: the trust domain of peer %q is not known, so it matches nobody; name it in the configuration", r.name, clip(in.SourcePeer)))
				return
			}
			partition = "default" // the peer's own, of which Consul's community edition has one
		}
		key := sourceKey{td, partition, in.SourceNS, in.SourceName}
		if first, ok := p.byKey[key]; ok { // less specific destination, or a second rule for the same
			if p.rules[first].name == r.name && (r.unread != "" || in.Action != Allow) {
				p.rules[first].unread = "two rules for the same source, and not both allow"
				p.problem(fmt.Errorf("authz: %s: there are two rules for the same source; it denies", r.name))
			}
			return
		}
		p.byKey[key] = i
	}
	if r.unread == "" {
		if err := p.body(&r, in, env); err != nil {
			r.unread = err.Error()
		}
	}
	if r.unread != "" {
		p.problem(fmt.Errorf("authz: %s cannot be honoured and denies: %s", r.name, clip(r.unread)))
	}
	p.rules = append(p.rules, r)
}

// body compiles what a rule does.
func (p *Policy) body(r *rule, in *Intention, env *conditions) error {
	var err error
	if r.jwt, err = p.tokens.require(in.JWT); err != nil {
		return err
	}
	if len(in.Permissions) == 0 {
		if in.Action != Allow && in.Action != Deny {
			return fmt.Errorf("action %q, want %q or %q", clip(string(in.Action)), Allow, Deny)
		}
		r.action = in.Action
		return nil
	}
	if in.Action != "" {
		return fmt.Errorf("it has an action and permissions")
	}
	r.l7 = true
	for i := range in.Permissions {
		src := &in.Permissions[i]
		perm := permission{name: fmt.Sprintf("%s, permission %d", r.name, i+1), action: src.Action}
		if src.Action != Allow && src.Action != Deny {
			return fmt.Errorf("permission %d: action %q, want %q or %q", i+1, clip(string(src.Action)), Allow, Deny)
		}
		if src.HTTP == nil && src.Condition == "" {
			return fmt.Errorf("permission %d says not what it is for", i+1)
		}
		if src.HTTP != nil {
			if perm.http, err = compileMatcher(src.HTTP, src.Action == Deny); err != nil {
				return fmt.Errorf("permission %d: %w", i+1, err)
			}
		}
		if perm.jwt, err = p.tokens.require(src.JWT); err != nil {
			return fmt.Errorf("permission %d: %w", i+1, err)
		}
		if src.Condition != "" {
			if perm.cond, err = env.compile(src.Condition); err != nil {
				return fmt.Errorf("permission %d: condition: %w", i+1, err)
			}
		}
		r.perms = append(r.perms, perm)
	}
	return nil
}
