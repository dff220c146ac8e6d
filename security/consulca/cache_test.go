package consulca_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testpki"
	"github.com/weft-mesh/weft/security/consulca"
)

// newer tells the sources of one serial number from those of others.
func newer(t *testing.T, s *consulca.Source, than string) {
	t.Helper()
	for serial(t, s) == than {
		wait(t)
	}
}

func TestStartWithoutTheAgent(t *testing.T) {
	t.Parallel()
	ca := testpki.New(t, td)
	agent, client := fake(t, ca)
	dir := filepath.Join(t.TempDir(), "cache")
	first := start(t, consulca.Config{Client: client, CacheDir: dir})
	want := serial(t, first)
	_ = first.Close()
	info, err := os.Stat(filepath.Join(dir, "identity-web.json"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the file that holds the key has mode %v", info.Mode().Perm())
	}

	agent.set(func() { agent.leaf.code, agent.roots.code = 500, 500 })
	second := start(t, consulca.Config{Client: client, CacheDir: dir})
	if got := serial(t, second); got != want {
		t.Fatalf("started with the identity %s, want the cached %s", got, want)
	}
	for second.Status().Err == nil { // a slow answer comes after the cached identity
		wait(t)
	}

	// The agent returns with another CA: a leaf that the cached roots do not know.
	other := testpki.New(t, td)
	agent.set(func() {
		agent.leaf = answer{index: 3, body: leafOf(t, other.SVID(t, id("web")))}
		agent.roots = answer{index: 4, body: rootsOf(td, other)}
	})
	newer(t, second, want)
	if err := handshake(t, second, second, id("web")); err != nil {
		t.Errorf("with the identity of the returned agent: %v", err)
	}
}

func TestCachedIdentityRefused(t *testing.T) {
	t.Parallel()
	ca := testpki.New(t, td)
	rewrite := func(old, new string) func(*testing.T, string) {
		return func(t *testing.T, file string) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			changed := bytes.Replace(text, []byte(old), []byte(new), 1)
			if bytes.Equal(text, changed) {
				t.Fatalf("%q is not in the file", old)
			}
			if err := os.WriteFile(file, changed, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, spoil := range map[string]func(t *testing.T, file string){
		"open to others": func(t *testing.T, file string) {
			if err := os.Chmod(file, 0o640); err != nil {
				t.Fatal(err)
			}
		},
		"of another version":      rewrite(`"version":1`, `"version":2`),
		"of another service":      rewrite(`"service":"web"`, `"service":"api"`),
		"of another trust domain": rewrite(td, "22222222-2222-3333-4444-555555555555.consul"),
		"no JSON":                 rewrite(`{`, ``),
		"without roots":           rewrite(`"roots":"`, `"others":"`),
		"of a key that is not the leaf's": func(t *testing.T, file string) {
			otherDir := filepath.Join(t.TempDir(), "other")
			_, client := fake(t, ca)
			s := start(t, consulca.Config{Client: client, CacheDir: otherDir})
			_ = s.Close()
			mine, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			other, err := os.ReadFile(filepath.Join(otherDir, "identity-web.json"))
			if err != nil {
				t.Fatal(err)
			}
			cut := func(b []byte) []byte { return b[bytes.Index(b, []byte(`"key"`)):bytes.Index(b, []byte(`"roots"`))] }
			if err := os.WriteFile(file, bytes.Replace(mine, cut(mine), cut(other), 1), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "cache")
			agent, client := fake(t, ca)
			s := start(t, consulca.Config{Client: client, CacheDir: dir})
			_ = s.Close()
			spoil(t, filepath.Join(dir, "identity-web.json"))
			agent.set(func() { agent.leaf.code, agent.roots.code = 500, 500 })
			// Long enough for the cache to be tried: the first query fails at once.
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if s, err := consulca.New(ctx, consulca.Config{Client: client, CacheDir: dir, Service: "web", MaxBackoff: time.Millisecond}); err == nil {
				_ = s.Close()
				t.Error("a cached identity that is spoilt was used")
			}
		})
	}
}
