package consulca

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// TestPeersOfTheLastRun: they count while the agent is away, and what it says replaces
// them; a file that cannot be trusted is not used.
func TestPeersOfTheLastRun(t *testing.T) {
	t.Parallel()
	one := []*api.Peering{{Name: "x", PeerCAPems: []string{caPEM(t, "a.consul")}}}
	var away atomic.Bool
	var answer atomic.Pointer[[]*api.Peering]
	answer.Store(&one)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("index") == "5" {
			<-r.Context().Done()
			return
		}
		if away.Load() {
			http.Error(w, "No cluster leader", http.StatusInternalServerError)
			return
		}
		w.Header().Set("X-Consul-Index", "5")
		_ = json.NewEncoder(w).Encode(*answer.Load())
	}))
	t.Cleanup(srv.Close)
	client, err := api.NewClient(&api.Config{Address: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "d", "peers-web.json")
	var mu sync.Mutex
	var log bytes.Buffer
	follow := func(file string) *Peers {
		t.Helper()
		p, err := FollowPeers(PeersConfig{Client: client, CacheFile: file, MaxBackoff: time.Millisecond, Logger: slog.New(slog.NewTextHandler(&locked{&mu, &log}, nil))})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Close() })
		<-p.Asked()
		return p
	}
	_ = follow(file).Close()
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatal(info, err)
	}
	away.Store(true)
	p := follow(file)
	if got := p.Domains(); !maps.Equal(got, map[string]string{"x": "a.consul"}) || p.Err() == nil {
		t.Errorf("while the agent is away: %v, %v", got, p.Err())
	}
	changed := p.Changed()
	answer.Store(&[]*api.Peering{})
	away.Store(false)
	<-changed
	if got := p.Domains(); len(got) != 0 {
		t.Errorf("after the peering has ended: %v", got)
	}
	_ = p.Close()
	away.Store(true)
	if got := follow(file).Domains(); len(got) != 0 {
		t.Errorf("an ended peering is back: %v", got)
	}

	good, err := json.Marshal(cachedPeers{cacheVersion, time.Now(), []savedPeer{{"x", one[0].PeerCAPems}}})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		text string
		mode os.FileMode
		used bool
	}{
		"good":               {string(good), 0o600, true},
		"others may write":   {string(good), 0o662, false},
		"half":               {string(good[:len(good)/2]), 0o600, false},
		"of a later version": {strings.Replace(string(good), `"version":1`, `"version":2`, 1), 0o600, false},
		"too old":            {`{"version":1,"saved":"2020-01-01T00:00:00Z","peers":[]}`, 0o600, false},
		"of the future":      {`{"version":1,"saved":"2999-01-01T00:00:00Z","peers":[]}`, 0o600, false},
	} {
		mu.Lock()
		log.Reset()
		mu.Unlock()
		file := filepath.Join(t.TempDir(), "p")
		if err := os.WriteFile(file, []byte(tc.text), tc.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, tc.mode); err != nil { // whatever the umask
			t.Fatal(err)
		}
		p := follow(file)
		got := p.Domains()
		_ = p.Close()
		mu.Lock()
		told := strings.Contains(log.String(), "peers.cache_unusable")
		mu.Unlock()
		if (len(got) == 1) != tc.used || told == tc.used {
			t.Errorf("%s: %v, told %v", name, got, told)
		}
	}
}

// FuzzPeersCache: what is read gives bundles of one trust domain each, or an error.
func FuzzPeersCache(f *testing.F) {
	now := time.Now()
	for _, pems := range [][]string{{caPEM(f, "a.consul")}, {caPEM(f, "a.consul"), caPEM(f, "b.consul")}, {"x"}, nil} {
		text, err := json.Marshal(cachedPeers{cacheVersion, now, []savedPeer{{"x", pems}, {"y", pems}}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := decodePeers(text, now)
		if err != nil {
			return
		}
		got, problems := readPeers(list)
		seen := map[string]bool{}
		for name, b := range got {
			if seen[b.TrustDomain().Name()] || b.Empty() {
				t.Fatalf("peer %q has an empty bundle, or the trust domain of another", name)
			}
			seen[b.TrustDomain().Name()] = true
		}
		for _, err := range problems {
			if strings.ContainsAny(err.Error(), "\n\r") {
				t.Fatalf("%q", err)
			}
		}
	})
}
