package authz

import (
	"fmt"

	"github.com/weft-mesh/weft/security"
)

// Decide judges a request by these rules alone.
func (p *Policy) Decide(r *Request) Decision {
	i, fallback := p.find(r)
	if i < 0 {
		if fallback == Allow {
			return Decision{Allowed: true, Rule: "default policy: allow", Version: p.version}
		}
		return p.deny("default policy: deny", "no rule is for this caller")
	}
	rule := &p.rules[i]
	switch {
	case rule.unread != "":
		return p.deny(rule.name, rule.unread)
	case !rule.l7 && rule.action != Allow:
		return p.deny(rule.name, "deny")
	}
	d := Decision{Version: p.version}
	if rule.jwt != nil {
		claims, err := p.tokens.check(rule.jwt, r)
		if err != nil {
			return p.unauthenticated(rule.name, err)
		}
		d.Claims = claims
	}
	if !rule.l7 {
		d.Allowed, d.Rule = true, rule.name
		return d
	}
	for j := range rule.perms {
		if d, done := p.permit(&rule.perms[j], r, d); done {
			return d
		}
	}
	// Not the next intention: this one has taken the caller.
	if fallback == Allow {
		d.Allowed, d.Rule = true, "default policy: allow"
		return d
	}
	return p.deny(rule.name, "none of its permissions is for this request, and the default policy denies")
}

// permit asks one permission; done is false if it is not for the request.
func (p *Policy) permit(perm *permission, r *Request, d Decision) (out Decision, done bool) {
	if perm.http != nil && !perm.http.match(r) {
		return d, false
	}
	if perm.action == Allow && perm.jwt != nil {
		claims, err := p.tokens.check(perm.jwt, r)
		if err != nil {
			return p.unauthenticated(perm.name, err), true
		}
		d.Claims = claims
	}
	if perm.cond != nil {
		claims := d.Claims
		if perm.action != Allow && perm.jwt != nil {
			if own, err := p.tokens.check(perm.jwt, r); err == nil {
				claims = own
			}
		}
		ok, err := perm.cond.eval(p, r, claims)
		if err != nil {
			return p.deny(perm.name, err.Error()), true
		}
		if !ok {
			return d, false
		}
	}
	if perm.action != Allow {
		return p.deny(perm.name, "deny"), true
	}
	d.Allowed, d.Rule = true, perm.name
	return d, true
}

// foundRule is what look has found; the rules of a Policy do not change.
type foundRule struct {
	caller, via security.PeerID
	i           int
	fallback    Action
}

// find is look, which is the same for all requests of a caller.
func (p *Policy) find(r *Request) (i int, fallback Action) {
	if r.Caller.IsZero() {
		return -1, Deny
	}
	slot := &p.found[0]
	if id := r.Caller.Path(); id != "" {
		slot = &p.found[(len(id)+int(id[len(id)-1]))%len(p.found)]
	}
	if f := slot.Load(); f != nil && f.caller == r.Caller && f.via == r.Via {
		return f.i, f.fallback
	}
	i, fallback = p.look(r)
	slot.Store(&foundRule{r.Caller, r.Via, i, fallback})
	return i, fallback
}

// look is the rule for a caller: of those that match the one that comes first. -1:
// none, and the default decides.
func (p *Policy) look(r *Request) (i int, fallback Action) {
	i, fallback = -1, Deny
	first := func(j int, ok bool) {
		if ok && (i < 0 || j < i) {
			i = j
		}
	}
	if r.Caller.IsZero() {
		return -1, Deny
	}
	who, named := source(r.Caller)
	key := who.sourceKey
	for _, j := range p.blanket { // where they would stand is not sure either: before all others
		if b := &p.rules[j]; b.anyName || b.sameName == key.name || !named {
			return j, Deny
		}
	}
	if len(p.byID) > 0 {
		j, ok := p.byID[r.Caller.String()]
		if ok {
			return j, Deny // the most exact of all
		}
	}
	// Through a gateway come callers of other trust domains only, and directly the
	// gateways themselves have nothing to ask for.
	if own := key.domain == p.scope.TrustDomain && key.domain != ""; own {
		if !r.Via.IsZero() || isGateway(r.Caller) {
			return -1, Deny
		}
		fallback = p.fallback
	} else if p.scope.AnyDomain {
		fallback = p.fallback
	}
	if named {
		name, ns := key.name, key.namespace
		j, ok := p.byKey[key]
		first(j, ok)
		key.name = wildcard
		j, ok = p.byKey[key]
		first(j, ok)
		key.namespace = wildcard
		j, ok = p.byKey[key]
		first(j, ok)
		key.name, key.namespace = name, ns
	} else if fallback == Allow {
		// It cannot be named, so a rule that denies all names denies it too.
		for _, ns := range [...]string{"default", wildcard} {
			j, ok := p.byKey[sourceKey{key.domain, "default", ns, wildcard}]
			first(j, ok && (p.rules[j].l7 || p.rules[j].action != Allow))
		}
	}
	return i, fallback
}

// Peer reports whether a caller could be allowed anything: whether its connection
// is worth having. Requests on it are judged one by one all the same.
func (p *Policy) Peer(r *Request) Decision {
	i, fallback := p.find(r)
	switch {
	case i < 0 && fallback == Allow:
		return Decision{Allowed: true, Rule: "default policy: allow", Version: p.version}
	case i < 0:
		return p.deny("default policy: deny", "no rule is for this caller")
	case p.rules[i].unread != "":
		return p.deny(p.rules[i].name, p.rules[i].unread)
	case !p.rules[i].l7 && p.rules[i].action != Allow:
		return p.deny(p.rules[i].name, "deny")
	}
	return Decision{Allowed: true, Rule: p.rules[i].name, Version: p.version}
}

func (p *Policy) deny(rule, why string) Decision {
	return Decision{Rule: rule, Version: p.version, Err: ErrDenied, reason: why}
}

func (p *Policy) unauthenticated(rule string, err error) Decision {
	return Decision{Rule: rule, Version: p.version, Err: ErrUnauthenticated, reason: fmt.Sprint(err)}
}

// Rules names the rules in the order in which they are asked.
func (p *Policy) Rules() []string {
	names := make([]string, len(p.rules))
	for i := range p.rules {
		names[i] = p.rules[i].name
	}
	return names
}
