package mesh

import (
	"context"
	"time"

	"github.com/weft-mesh/weft/security"
	"github.com/weft-mesh/weft/security/consulca"
)

// openTrust puts two things between the identity and all who use it: the CAs of the
// other clusters, each for its own trust domain, and the eye on open connections.
func (m *Mesh) openTrust(own security.Source) error {
	foreign, err := m.openFederation(own) // first: what is named counts before what is found
	if err != nil {
		return err
	}
	if m.cfg.identity == "consul" { // others, SPIRE for one, bring what they federate with
		clouds, err := m.openForeign()
		if err != nil {
			return err
		}
		foreign = append(foreign, clouds...)
	}
	peers, err := m.openPeers()
	if err != nil {
		return err
	}
	if foreign = append(foreign, peers...); len(foreign) > 0 {
		f, err := security.Federate(own, foreign...)
		if err != nil {
			return err
		}
		m.onLeave(func(context.Context) error { return f.Close() })
		own = f
	}
	live, err := security.NewLive(own, security.LiveConfig{Authorize: m.mayConnect(), Closed: m.peerClosed})
	if err != nil {
		return err
	}
	m.onLeave(func(context.Context) error { return live.Close() })
	m.identity = live
	return nil
}

// openForeign follows the CAs of peers, and of clusters that have an address of their
// own. A cluster that is federated with ours has our trust domain, and adds nothing.
func (m *Mesh) openForeign() ([]security.Foreign, error) {
	var foreign []security.Foreign
	home := m.home()
	for i, cfg := range m.cfg.Clouds {
		if i == home || cfg.Datacenter != "" {
			continue
		}
		client, release, err := cfg.APIClient()
		if err != nil {
			return nil, err
		}
		m.onLeave(func(context.Context) error { release(); return nil })
		roots, err := consulca.FollowRoots(consulca.RootsConfig{Client: client, Peer: cfg.Peer, Logger: m.log})
		if err != nil {
			return nil, err
		}
		m.onLeave(func(context.Context) error { return roots.Close() })
		foreign = append(foreign, roots)
	}
	return foreign, nil
}

// peerClosed logs a connection that was closed because it would not be accepted now.
func (m *Mesh) peerClosed(err *security.HandshakeError) {
	if n, ok := m.cuts.allow(time.Now()); ok {
		m.log.Warn("peer.closed", "service", m.cfg.Service, "peer", err.Got, "error", err, "suppressed", n)
	}
}

// connectionAge bounds the age of a server's connections so that they end in order
// before a certificate of either end does, which ends them at once: issuers renew
// with a tenth of the life left or more, and others' lives are taken to be as long as
// ours. 0: unbounded.
func (m *Mesh) connectionAge() time.Duration {
	age := m.cfg.MaxConnectionAge
	if age <= 0 {
		return 0
	}
	if own, err := m.identity.GetX509SVID(); err == nil {
		// Jitter and grace add a fifth.
		age = min(age, own.Certificates[0].NotAfter.Sub(own.Certificates[0].NotBefore)/12)
	}
	return age
}
