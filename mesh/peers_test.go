package mesh

import (
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/weft-mesh/weft/internal/testpki"
	"github.com/weft-mesh/weft/security/consulca"
)

// A cluster peer that says that it is our own trust domain is no peer, and it is told.
func TestPeerThatClaimsToBeUs(t *testing.T) {
	t.Parallel()
	root := func(td string) []string {
		cert := testpki.New(t, td).SVID(t, "spiffe://"+td, func(s *testpki.Spec) { s.SelfSigned, s.Template.IsCA = true, true }).Certificates[0]
		return []string{string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))}
	}
	list := []*api.Peering{{Name: "evil", PeerCAPems: root("own.consul")}, {Name: "good", PeerCAPems: root("good.consul")}}
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("index") == "5" {
			<-r.Context().Done()
			return
		}
		w.Header().Set("X-Consul-Index", "5")
		_ = json.NewEncoder(w).Encode(list)
	}))
	t.Cleanup(agent.Close)
	client, err := api.NewClient(&api.Config{Address: agent.URL})
	if err != nil {
		t.Fatal(err)
	}
	p, err := consulca.FollowPeers(consulca.PeersConfig{Client: client})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	log := &logged{}
	m := &Mesh{cfg: &resolved{}, log: slog.New(slog.NewTextHandler(log, nil)), peers: peerDomains{follow: p}}
	got := m.knownPeers(t.Context(), "own.consul")
	if !maps.Equal(got, map[string]string{"good": "good.consul"}) || m.peers.has("own.consul") || !m.peers.has("good.consul") {
		t.Errorf("peers %v", got)
	}
	if text := log.String(); !strings.Contains(text, "peers.refused") || !strings.Contains(text, "evil") {
		t.Errorf("events:\n%s", text)
	}
}
