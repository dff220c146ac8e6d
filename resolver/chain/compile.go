package chain

import (
	"fmt"
	"time"
)

const (
	// DefaultConnectTimeout is that of a service whose resolver does not say.
	DefaultConnectTimeout = 5 * time.Second
	// DefaultRequestTimeout is what Envoy under Consul uses where neither route nor
	// resolver says. It does not stand in a compiled chain: there, 0 is none said.
	DefaultRequestTimeout = 15 * time.Second
)

const (
	inDefault = "default" // the namespace and partition of all services

	maxNodes  = 1 << 14 // of one chain
	maxSplits = 10_000  // of one node: as many as can have a weight
	maxSteps  = 1 << 20 // of one compilation, or of the check of one set
)

// CompileConfig says where a chain is for. The zero value works.
type CompileConfig struct {
	// Datacenter is where the caller is. Empty: "dc1".
	Datacenter string
	// TrustDomain is that of the SNI names. Empty: "weft.dev.internal".
	TrustDomain string
	// OverrideMeshGateway replaces the mode of all targets. Zero: it stays.
	OverrideMeshGateway MeshGateway
	// OverrideProtocol replaces the protocol; one that is not http, http2 or grpc
	// leaves routers and splitters out. Empty: it stays.
	OverrideProtocol string
	// OverrideConnectTimeout replaces that of all targets. 0 or less: it stays.
	OverrideConnectTimeout time.Duration
	// PeerLocality is where peers say that they are. nil: not known.
	PeerLocality map[string]Locality
}

// Compile makes the chain of one service of config entries, which must go
// together as in [NewEntrySet]. It gives what Consul gives for the same entries.
func Compile(entries []Entry, service string, cfg CompileConfig) (*Chain, error) {
	s, err := NewEntrySet(entries...)
	if err != nil {
		return nil, err
	}
	return s.Compile(service, cfg)
}

// Compile makes the chain of a service, which need not have any entry.
func (s *EntrySet) Compile(service string, cfg CompileConfig) (*Chain, error) {
	steps := maxSteps
	return s.compile(service, cfg, &steps)
}

func (m MeshGateway) check() (MeshGateway, error) {
	switch m.Mode {
	case "", "none", "local", "remote":
		return m, nil
	}
	return m, fmt.Errorf("%q is not one of none, local, remote and empty", clip(m.Mode))
}
