package consulca

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/weft-mesh/weft/internal/testpki"
)

// caPEM is a CA certificate with its trust domain as its URI, as Consul's has it.
func caPEM(t testing.TB, td string) string {
	t.Helper()
	ca := testpki.New(t, td)
	cert := ca.SVID(t, "spiffe://"+td, func(s *testpki.Spec) {
		s.SelfSigned, s.Template.IsCA = true, true
	}).Certificates[0]
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
}

// TestReadPeers: what a peering says of itself does not decide about another, and
// what cannot be read is named.
func TestReadPeers(t *testing.T) {
	t.Parallel()
	now := time.Now()
	a, b, alsoB := caPEM(t, "a.consul"), caPEM(t, "b.consul"), caPEM(t, "b.consul")
	for name, tc := range map[string]struct {
		list     []*api.Peering
		want     map[string]string
		problems int
	}{
		"none": {nil, map[string]string{}, 0},
		"two":  {[]*api.Peering{{Name: "x", PeerCAPems: []string{a}}, {Name: "y", PeerCAPems: []string{b}}}, map[string]string{"x": "a.consul", "y": "b.consul"}, 0},
		"being made, being ended": {[]*api.Peering{nil, {Name: "x", State: api.PeeringStatePending}, {Name: "y", PeerCAPems: []string{a}, DeletedAt: &now},
			{Name: "z", PeerCAPems: []string{b}, State: api.PeeringStateTerminated}}, map[string]string{}, 0},
		"failing, but not ended": {[]*api.Peering{{Name: "x", PeerCAPems: []string{a}, State: api.PeeringStateFailing}}, map[string]string{"x": "a.consul"}, 0},
		"two claim to be one":    {[]*api.Peering{{Name: "x", PeerCAPems: []string{b}}, {Name: "y", PeerCAPems: []string{alsoB}}, {Name: "z", PeerCAPems: []string{a}}}, map[string]string{"z": "a.consul"}, 1},
		"of two domains":         {[]*api.Peering{{Name: "x", PeerCAPems: []string{a, b}}, {Name: "z", PeerCAPems: []string{a}}}, map[string]string{"z": "a.consul"}, 1},
		"no certificate":         {[]*api.Peering{{Name: "x", PeerCAPems: []string{"\nnone"}}}, map[string]string{}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, problems := readPeers(tc.list)
			domains := map[string]string{}
			for n, b := range got {
				domains[n] = b.TrustDomain().Name()
			}
			if !maps.Equal(domains, tc.want) || len(problems) != tc.problems {
				t.Errorf("%v, %v; want %v and %d problems", domains, problems, tc.want, tc.problems)
			}
			for _, err := range problems {
				if strings.ContainsAny(err.Error(), "\n\r") {
					t.Errorf("%q", err)
				}
			}
		})
	}
}

// TestPeersKeepTheLast: an agent that fails, refuses or forgets its index changes
// nothing; one that says so ends a peering.
func TestPeersKeepTheLast(t *testing.T) {
	t.Parallel()
	type reply struct {
		code  int
		index string
		list  []*api.Peering
	}
	replies := make(chan reply)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/peerings" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		select {
		case x := <-replies:
			w.Header().Set("X-Consul-Index", x.index)
			w.WriteHeader(x.code)
			if x.code == http.StatusOK {
				_ = json.NewEncoder(w).Encode(x.list)
			}
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(srv.Close)
	client, err := api.NewClient(&api.Config{Address: srv.URL, Token: "t0ken-canary"})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var log bytes.Buffer
	p, err := FollowPeers(PeersConfig{Client: client, MaxBackoff: time.Millisecond, Logger: slog.New(slog.NewTextHandler(&locked{&mu, &log}, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	one := []*api.Peering{{Name: "x", PeerCAPems: []string{caPEM(t, "a.consul")}}}
	changed := p.Changed()
	replies <- reply{200, "5", one}
	<-changed
	<-p.Asked()
	same := func(when string) {
		t.Helper()
		if got := p.Domains(); !maps.Equal(got, map[string]string{"x": "a.consul"}) {
			t.Errorf("%s: %v", when, got)
		}
	}
	same("at first")
	for _, r := range []reply{{500, "6", nil}, {403, "6", nil}, {200, "6", one}, {200, "6", nil}, {200, "2", nil}} {
		replies <- r
	}
	replies <- reply{200, "3", one} // asked anew after the index went back
	same("after failures")
	changed = p.Changed()
	replies <- reply{200, "9", nil}
	<-changed
	if got := p.Domains(); len(got) != 0 {
		t.Errorf("after the end: %v", got)
	}
	_ = p.Close()
	mu.Lock()
	defer mu.Unlock()
	if text := log.String(); strings.Count(text, "peers.unknown") != 2 || !strings.Contains(text, "level=INFO msg=peers.unknown") || strings.Contains(text, "t0ken") {
		t.Errorf("events:\n%s", text)
	}
	for _, cfg := range []PeersConfig{{}, {Client: client, Wait: -1}, {Client: client, MaxBackoff: -1}} {
		if _, err := FollowPeers(cfg); err == nil {
			t.Errorf("%+v: accepted", cfg)
		}
	}
}

type locked struct {
	mu  *sync.Mutex
	buf *bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}
