package bundleendpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/internal/ownfile"
)

const (
	cacheVersion = 1
	maxCacheAge  = 72 * time.Hour
	// saveEvery is how often a bundle that does not change is written again, for its age.
	saveEvery = time.Hour
)

// cached is a bundle as it lies on disk.
type cached struct {
	Version     int             `json:"version"`
	TrustDomain string          `json:"trust_domain"`
	Fetched     time.Time       `json:"fetched"`
	Bundle      json.RawMessage `json:"bundle"`
}

func (s *Source) cacheFile() string {
	return filepath.Join(s.cfg.CacheDir, "bundle-"+s.td.Name()+".json")
}

// save writes the bundle that was just fetched, and returns when it was written last.
func (s *Source) save(last time.Time) time.Time {
	s.mu.Lock()
	b, st := s.held, s.status
	s.mu.Unlock()
	if s.cfg.CacheDir == "" || st.Updated.Before(last) && st.Fetched.Sub(last) < saveEvery {
		return last
	}
	if err := s.write(b, st.Fetched); err != nil {
		s.cfg.Logger.Warn("bundle.cache_failed", "trust_domain", s.td.Name(), "error", err)
		return last
	}
	return st.Fetched
}

func (s *Source) write(b *spiffebundle.Bundle, fetched time.Time) error {
	doc, err := b.Marshal()
	if err != nil {
		return err
	}
	text, err := json.Marshal(cached{cacheVersion, s.td.Name(), fetched, doc})
	if err != nil {
		return err
	}
	return ownfile.Write(s.cacheFile(), text)
}

// load takes the bundle of the last run, and returns when it was written.
func (s *Source) load() time.Time {
	if s.cfg.CacheDir == "" {
		return time.Time{}
	}
	b, fetched, err := s.read()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return time.Time{}
	case err != nil:
		s.cfg.Logger.Warn("bundle.cache_unusable", "trust_domain", s.td.Name(), "error", err)
		return time.Time{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Fetched = fetched
	s.publish(b, "bundle.loaded")
	return fetched
}

func (s *Source) read() (*spiffebundle.Bundle, time.Time, error) {
	file := s.cacheFile()
	// The document may have grown by its indentation.
	text, err := ownfile.Read(file, s.cfg.MaxBytes+1024)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("bundleendpoint: %w", err)
	}
	b, fetched, err := decode(s.td, text, time.Now())
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("bundleendpoint: %s is not used: %w", file, err)
	}
	return b, fetched, nil
}

func decode(td spiffeid.TrustDomain, text []byte, now time.Time) (*spiffebundle.Bundle, time.Time, error) {
	var c cached
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, time.Time{}, &quoted{err}
	}
	switch age := now.Sub(c.Fetched); {
	case c.Version != cacheVersion || c.TrustDomain != td.Name():
		return nil, time.Time{}, fmt.Errorf("it is of version %d and trust domain %.80q, want %d and %s", c.Version, c.TrustDomain, cacheVersion, td.Name())
	case age > maxCacheAge:
		return nil, time.Time{}, fmt.Errorf("it is %v old, over %v", age.Round(time.Second), maxCacheAge)
	case age < -time.Hour:
		return nil, time.Time{}, fmt.Errorf("it is from the future, by %v", -age.Round(time.Second))
	}
	b, err := parse(td, c.Bundle)
	return b, c.Fetched, err
}
