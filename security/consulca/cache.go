package consulca

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/internal/ownfile"
)

const (
	cacheVersion = 1
	maxCache     = 1 << 20
	// cacheGrace is how long the agent has for its first answer before a cached
	// identity is used; an agent that refuses is not waited for.
	cacheGrace = time.Second
)

// cached is the identity as it lies on disk.
type cached struct {
	Version     int    `json:"version"`
	Service     string `json:"service"`
	TrustDomain string `json:"trust_domain"`
	LeafPEM     string `json:"leaf"`
	KeyPEM      string `json:"key"`
	RootsPEM    string `json:"roots"`
}

func (s *Source) cacheFile() string {
	return filepath.Join(s.cfg.CacheDir, "identity-"+s.cfg.Service+".json")
}

// save replaces the cached identity. It is called with s.mu held, after each
// change, which is rare.
func (s *Source) save() error {
	if s.cfg.CacheDir == "" {
		return nil
	}
	leaf, key, err := s.leaf.Marshal()
	if err != nil {
		return err
	}
	roots, err := s.own.Marshal()
	if err != nil {
		return err
	}
	text, err := json.Marshal(cached{cacheVersion, s.cfg.Service, s.own.TrustDomain().Name(), string(leaf), string(key), string(roots)})
	if err != nil {
		return err
	}
	return ownfile.Write(s.cacheFile(), text)
}

// load takes the cached identity, if it is ours, private and not expired. Leaf,
// key and roots must fit together as if they came from the agent.
func (s *Source) load() error {
	file := s.cacheFile()
	text, err := ownfile.Read(file, maxCache)
	if err != nil {
		return fmt.Errorf("consulca: the cached identity: %w", err)
	}
	var c cached
	if err := json.Unmarshal(text, &c); err != nil {
		return fmt.Errorf("consulca: %s: %w", file, err)
	}
	if c.Version != cacheVersion || c.Service != s.cfg.Service {
		return fmt.Errorf("consulca: %s is of version %d and service %.80q, want %d and %q", file, c.Version, c.Service, cacheVersion, s.cfg.Service)
	}
	svid, err := parseLeaf(&api.LeafCert{CertPEM: c.LeafPEM, PrivateKeyPEM: c.KeyPEM}, s.cfg.Service)
	if err != nil {
		return fmt.Errorf("consulca: %s: %w", file, err)
	}
	if end := svid.Certificates[0].NotAfter; !time.Now().Before(end) {
		return fmt.Errorf("consulca: the identity in %s expired at %v", file, end)
	}
	td, err := spiffeid.TrustDomainFromString(c.TrustDomain)
	if err != nil {
		return fmt.Errorf("consulca: %s: %w", file, err)
	}
	own, err := x509bundle.Parse(td, []byte(c.RootsPEM))
	if err != nil {
		return fmt.Errorf("consulca: %s: %w", file, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leaf != nil || s.own != nil {
		return nil // the agent has answered after all
	}
	if err := s.takeLocked(svid, own); err != nil {
		s.leaf, s.own = nil, nil
		return err
	}
	// The agent's own answers replace it whole: a leaf of a new CA must not wait
	// for roots that are here already.
	s.leaf, s.own = nil, nil
	s.cfg.Logger.Warn("identity.loaded", "service", s.cfg.Service, "detail", "the agent does not answer; the identity of the last run is used", "not_after", svid.Certificates[0].NotAfter)
	return nil
}
