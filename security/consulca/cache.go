package consulca

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/security/internal/ownfile"
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
	f, err := os.Open(s.cacheFile())
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("consulca: %s has mode %v and holds a private key; others may have read or written it, remove it", f.Name(), info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(f, maxCache))
	if err != nil {
		return err
	}
	var c cached
	if err := json.Unmarshal(text, &c); err != nil {
		return fmt.Errorf("consulca: %s: %w", f.Name(), err)
	}
	if c.Version != cacheVersion || c.Service != s.cfg.Service {
		return fmt.Errorf("consulca: %s is of version %d and service %.80q, want %d and %q", f.Name(), c.Version, c.Service, cacheVersion, s.cfg.Service)
	}
	svid, err := parseLeaf(&api.LeafCert{CertPEM: c.LeafPEM, PrivateKeyPEM: c.KeyPEM}, s.cfg.Service)
	if err != nil {
		return fmt.Errorf("consulca: %s: %w", f.Name(), err)
	}
	if end := svid.Certificates[0].NotAfter; !time.Now().Before(end) {
		return fmt.Errorf("consulca: the identity in %s expired at %v", f.Name(), end)
	}
	td, err := spiffeid.TrustDomainFromString(c.TrustDomain)
	if err != nil {
		return fmt.Errorf("consulca: %s: %w", f.Name(), err)
	}
	own, err := x509bundle.Parse(td, []byte(c.RootsPEM))
	if err != nil {
		return fmt.Errorf("consulca: %s: %w", f.Name(), err)
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
