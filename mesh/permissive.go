package mesh

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/weft-mesh/weft/security"
)

// maxPlaintext bounds the callers that are told apart.
const maxPlaintext = 1024

// PlaintextCaller is an address that spoke no TLS to a server of this process.
type PlaintextCaller struct {
	// Addr is the caller's IP address; the zero one stands for all that came after the
	// first thousand.
	Addr netip.Addr
	// Accepted and Refused count its connections, while Config.Permissive lasted and after.
	Accepted, Refused uint64
	// Last is when the last one came.
	Last time.Time
}

// plaintext keeps the books of permissive mode.
type plaintext struct {
	mu      sync.Mutex
	callers map[netip.Addr]*PlaintextCaller
}

// permissive is what the servers do with plaintext.
func (m *Mesh) permissive() security.Permissive {
	return security.Permissive{Until: m.cfg.Permissive, Seen: m.sawPlaintext, Patience: handshakeTimeout}
}

func (m *Mesh) sawPlaintext(remote net.Addr, accepted bool) {
	var addr netip.Addr
	if tcp, ok := remote.(*net.TCPAddr); ok {
		addr = tcp.AddrPort().Addr().Unmap()
	}
	p := &m.plain
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.callers == nil {
		p.callers = map[netip.Addr]*PlaintextCaller{}
	}
	c := p.callers[addr]
	if c == nil && len(p.callers) >= maxPlaintext {
		addr = netip.Addr{}
		c = p.callers[addr]
	}
	if c == nil {
		c = &PlaintextCaller{Addr: addr}
		p.callers[addr] = c
	}
	c.Last = time.Now()
	if accepted {
		c.Accepted++
	} else {
		c.Refused++
	}
	if accepted && c.Accepted == 1 || !accepted && c.Refused == 1 {
		m.log.Warn("peer.plaintext", "service", m.cfg.Service, "addr", addr.String(), "accepted", accepted, "until", m.cfg.Permissive)
	}
}

// PlaintextCallers lists who still speaks plaintext to the servers of this process,
// by address, so that a migration can be ended when it is empty. It is always
// empty without Config.Permissive, which refuses them unseen.
func (m *Mesh) PlaintextCallers() []PlaintextCaller {
	m.plain.mu.Lock()
	defer m.plain.mu.Unlock()
	out := make([]PlaintextCaller, 0, len(m.plain.callers))
	for _, c := range m.plain.callers {
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b PlaintextCaller) int { return a.Addr.Compare(b.Addr) })
	return out
}
