package consulauthz

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/weft-mesh/weft/internal/ownfile"
	"github.com/weft-mesh/weft/security/authz"
)

const (
	cacheVersion = 1
	cacheMaxAge  = 24 * time.Hour
	// cacheGrace is how long the agent has for its first answer before the rules of
	// the last run are used; an agent that refuses is not waited for.
	cacheGrace = time.Second
)

// onDisk is the last answers as they lie on disk.
type onDisk struct {
	Version    int             `json:"version"`
	Service    string          `json:"service"`
	SavedAt    time.Time       `json:"saved_at"`
	Rules      string          `json:"rules"`
	Default    authz.Action    `json:"default"`
	Intentions json.RawMessage `json:"intentions"`
	Providers  json.RawMessage `json:"providers,omitempty"`
}

func (s *Source) file() string {
	return filepath.Join(s.cfg.CacheDir, "authz-"+safeName(s.cfg.Service)+".json")
}

func safeName(s string) string {
	out := make([]byte, 0, len(s)*3)
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' {
			out = append(out, c)
		} else {
			out = fmt.Appendf(out, "%%%02x", c)
		}
	}
	return string(out)
}

// save replaces the file at once, so that no reader sees half of it.
func (s *Source) save(a answers) error {
	data, err := json.Marshal(onDisk{cacheVersion, s.cfg.Service, time.Now().UTC(), a.version, a.fallback, a.intentions, a.providers})
	if err != nil {
		return err
	}
	return ownfile.Write(s.file(), data)
}

// load reads the answers of an earlier run, if nobody else can have written them.
func (s *Source) load() (a answers, err error) {
	data, err := ownfile.Read(s.file(), 3*maxAnswer)
	if err != nil {
		return a, fmt.Errorf("consulauthz: the rules of the last run: %w", err)
	}
	var d onDisk
	if err := json.Unmarshal(data, &d); err != nil {
		return a, fmt.Errorf("consulauthz: %s: %w", s.file(), err)
	}
	switch age := time.Since(d.SavedAt); {
	case d.Version != cacheVersion || d.Service != s.cfg.Service:
		return a, fmt.Errorf("consulauthz: %s is of version %d and service %q", s.file(), d.Version, plain(d.Service))
	case age > cacheMaxAge || age < -time.Hour:
		return a, fmt.Errorf("consulauthz: the rules in %s are of %s, too old or from the future", s.file(), d.SavedAt.Format(time.RFC3339))
	}
	if s.cfg.Default != "" {
		d.Default = s.cfg.Default
	}
	a = answers{d.Intentions, d.Providers, d.Default, d.Rules + " (from disk)"}
	_, _, err = decode(a, s.cfg.Service)
	return a, err
}

// useCache puts the rules of an earlier run in force, while there are no others.
func (w *watch) useCache() {
	w.mu.Lock()
	known := w.now.intentions != nil
	w.mu.Unlock()
	if known || w.cfg.CacheDir == "" {
		return
	}
	a, err := w.load()
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			w.log.Warn("authz.cache_unusable", "service", w.cfg.Service, "error", err)
		}
		return
	}
	w.mu.Lock()
	if known = w.now.intentions != nil; !known {
		w.now, w.cached = a, true
	}
	w.mu.Unlock()
	if !known {
		w.log.Warn("authz.rules_loaded", "service", w.cfg.Service, "version", a.version, "detail", "the agent does not answer; the rules of the last run are in force")
		_ = w.publish(false) // load has decoded them
	}
}
