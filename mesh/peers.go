package mesh

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/weft-mesh/weft/security"
	"github.com/weft-mesh/weft/security/consulca"
)

// peerDomains are the trust domains of Consul's cluster peerings by the peering's name:
// those of Config.Authorization.Peers, or else those that Consul has.
type peerDomains struct {
	follow *consulca.Peers // nil: they are given, or there are none

	mu     sync.Mutex
	byName map[string]string
}

// openPeers follows the peerings of the agent that announces this process, if its CA
// is what identities are verified with and nobody has said what they are.
func (m *Mesh) openPeers() ([]security.Foreign, error) {
	m.peers.byName = m.cfg.Authorization.Peers
	if m.cfg.identity != "consul" || m.cfg.Authorization.Peers != nil {
		return nil, nil
	}
	home, ok := m.homeCloud()
	if !ok {
		return nil, nil
	}
	client, release, err := home.APIClient()
	if err != nil {
		return nil, err
	}
	m.onLeave(func(context.Context) error { release(); return nil })
	cfg := consulca.PeersConfig{Client: client, Logger: m.log}
	if m.cfg.SnapshotDir != "" {
		cfg.CacheFile = filepath.Join(m.cfg.SnapshotDir, "peers-"+m.cfg.Service+".json")
	}
	p, err := consulca.FollowPeers(cfg)
	if err != nil {
		return nil, err
	}
	m.onLeave(func(context.Context) error { return p.Close() })
	m.peers.follow = p
	return []security.Foreign{p}, nil
}

// peersTimeout bounds how long Join waits for the peerings, so that rules which name one
// are not refused first; they are put in force whenever they come.
const peersTimeout = time.Second

// knownPeers are the peers that the first rules are read for.
func (m *Mesh) knownPeers(ctx context.Context, own string) map[string]string {
	p := m.peers.follow
	if p == nil {
		return m.cfg.Authorization.Peers
	}
	ctx, cancel := context.WithTimeout(ctx, peersTimeout)
	defer cancel()
	select {
	case <-p.Asked():
	case <-ctx.Done():
	}
	return m.takePeers(own)
}

// takePeers reads what Consul has now, for authorization.
func (m *Mesh) takePeers(own string) map[string]string {
	next := m.peers.follow.Domains()
	for name, td := range next {
		if td == own { // what a peer says of itself does not make it us
			delete(next, name)
			m.log.Warn("peers.refused", "service", m.cfg.Service, "peer", name, "detail", "it says that it is our own trust domain")
		}
	}
	m.peers.mu.Lock()
	defer m.peers.mu.Unlock()
	m.peers.byName = next
	return maps.Clone(next)
}

func (d *peerDomains) has(td string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Contains(slices.Collect(maps.Values(d.byName)), td)
}

// watchPeers keeps the rules in step with the peerings.
func (m *Mesh) watchPeers(own string) {
	p := m.peers.follow
	if p == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			changed := p.Changed()
			if err := m.authorizer.SetPeers(m.takePeers(own)); err != nil {
				m.log.Error("authz.peers_refused", "service", m.cfg.Service, "error", err)
			}
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
		}
	})
	m.onLeave(func(context.Context) error { cancel(); wg.Wait(); return nil })
}

// mayConnect says whose connections servers accept; requests are judged after.
func (m *Mesh) mayConnect() security.Authorizer {
	if m.cfg.Authorize != nil || len(m.cfg.Authorization.Peers) == 0 && m.peers.follow == nil {
		return m.cfg.Authorize // nil: members of the own trust domain
	}
	return func(p security.PeerID) error {
		own, err := m.identity.GetX509SVID()
		if err != nil {
			return err
		}
		if p.MemberOf(own.ID.TrustDomain()) || m.peers.has(p.TrustDomain().Name()) {
			return nil
		}
		return errors.New("neither a member of our own trust domain nor of a peer's")
	}
}
