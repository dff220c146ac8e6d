package authz

import (
	"fmt"
	"maps"
)

// SetPeers replaces Config.Peers and puts the rules in force anew. It refuses a trust
// domain that is empty, our own, or of two peers, and then changes nothing.
func (a *Authorizer) SetPeers(peers map[string]string) error {
	if err := checkPeers(peers, a.cfg.TrustDomain); err != nil {
		return fmt.Errorf("authz: SetPeers: %w", err)
	}
	a.mu.Lock()
	if maps.Equal(a.peers, peers) {
		a.mu.Unlock()
		return nil
	}
	a.peers = maps.Clone(peers)
	var fresh []*Policy
	for i, r := range a.raw {
		if a.layers[i] == nil {
			continue // compiled when it is known
		}
		a.layers[i] = compile(r, a.scopeLocked(), a.keys)
		fresh = append(fresh, a.layers[i])
	}
	a.publishLocked()
	a.mu.Unlock()
	for _, p := range fresh {
		a.tell(p)
	}
	a.log.Info("authz.peers", "service", a.cfg.Service, "peers", len(peers))
	a.review()
	return nil
}

// scopeLocked is what rules are compiled with at this time.
func (a *Authorizer) scopeLocked() Scope {
	s := a.cfg.Scope
	s.Peers = a.peers
	return s
}

// compileLocked compiles without the lock, which it returns with, for the peers that
// are known then.
func (a *Authorizer) compileLocked(r Rules) *Policy {
	a.mu.Lock()
	for {
		scope := a.scopeLocked()
		a.mu.Unlock()
		p := compile(r, scope, a.keys)
		a.mu.Lock()
		if maps.Equal(scope.Peers, a.peers) {
			return p
		}
	}
}

// checkPeers wants a trust domain of its own for each peer.
func checkPeers(peers map[string]string, own string) error {
	seen := map[string]bool{}
	for peer, td := range peers {
		if td == "" || td == own || seen[td] {
			return fmt.Errorf("trust domain %q of peer %q is empty, our own, or of two peers", clip(td), clip(peer))
		}
		seen[td] = true
	}
	return nil
}
