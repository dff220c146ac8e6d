package bundleendpoint

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testpki"
)

// TestCache: the bundle of the last run counts while the endpoint is away, for the
// endpoint too, and its sequence number still holds.
func TestCache(t *testing.T) {
	t.Parallel()
	old, ca := testpki.New(t, domain), testpki.New(t, domain)
	src := testpki.NewSource(old.SVID(t, serverID), old.Bundle())
	e := serve(t, src)
	e.doc(t, bundle(ca, 5))
	cfg := Config{TrustDomain: domain, URL: e.URL, EndpointID: serverID, Bootstrap: old.Bundle(), CacheDir: filepath.Join(t.TempDir(), "c")}
	first := follow(t, cfg)
	until(t, first, "the bundle", func(st Status) bool { return st.Sequence == 5 })
	_ = first.Close()
	file := first.cacheFile()
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}

	e.set(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	src.SetSVID(ca.SVID(t, serverID)) // which only the bundle of the last run knows
	log := &events{}
	cfg.Logger = log.logger()
	again := follow(t, cfg)
	if b := again.Bundle(); b == nil || !b.Equal(ca.Bundle()) || again.Status().Err == nil || log.count("bundle.loaded") != 1 {
		t.Errorf("bundle %v, status %+v\n%s", b, again.Status(), log)
	}
	e.doc(t, bundle(old, 4))
	until(t, again, "a refusal", func(st Status) bool { return errors.Is(st.Err, ErrSequence) })

	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	change := func(f func(*cached)) []byte {
		var c cached
		if err := json.Unmarshal(text, &c); err != nil {
			t.Fatal(err)
		}
		f(&c)
		out, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for name, tc := range map[string]struct {
		text []byte
		mode os.FileMode
	}{
		"others may write":  {text, 0o622},
		"too old":           {change(func(c *cached) { c.Fetched = c.Fetched.Add(-maxCacheAge - time.Hour) }), 0o600},
		"of the future":     {change(func(c *cached) { c.Fetched = c.Fetched.Add(2 * time.Hour) }), 0o600},
		"of another domain": {change(func(c *cached) { c.TrustDomain = "own.example" }), 0o600},
		"of a later Weft":   {change(func(c *cached) { c.Version++ }), 0o600},
		"half":              {text[:len(text)/2], 0o600},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, log := t.TempDir(), &events{}
			e := serve(t, nil) // 404
			cfg := e.web()
			cfg.CacheDir, cfg.Logger = dir, log.logger()
			file := filepath.Join(dir, filepath.Base(file))
			if err := os.WriteFile(file, tc.text, tc.mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(file, tc.mode); err != nil { // whatever the umask
				t.Fatal(err)
			}
			s := follow(t, cfg)
			if s.Bundle() != nil || log.count("bundle.cache_unusable") != 1 {
				t.Errorf("bundle %v\n%s", s.Bundle(), log)
			}
		})
	}
}

func TestCacheCannotBeWritten(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ca, log := testpki.New(t, domain), &events{}
	e := serve(t, nil)
	e.doc(t, bundle(ca, 1))
	cfg := e.web()
	cfg.CacheDir, cfg.Logger = filepath.Join(file, "below"), log.logger()
	s := follow(t, cfg)
	until(t, s, "the bundle", func(st Status) bool { return st.X509 == 1 })
	if log.count("bundle.cache_failed") == 0 {
		t.Errorf("nothing was said:\n%s", log)
	}
}
