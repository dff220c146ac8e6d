package mesh_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/internal/consultest/ctest"
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resolver/static"
	"github.com/weft-mesh/weft/security"
	"github.com/weft-mesh/weft/security/consulca"
)

// TestPeersWithoutConsul: a server that starts while its Consul is away knows its
// cluster's peerings from the last run, whose file a real Consul's answers have made: who
// is of a peer proves who it is by the peer's CA, and the intentions of that time say
// what it may do. Without the file nobody of the peer is let in.
func TestPeersWithoutConsul(t *testing.T) {
	t.Parallel()
	alpha := ctest.Start(t, consultest.Config{Datacenter: "alpha"})
	beta := ctest.Start(t, consultest.Config{Datacenter: "beta"})
	peer(t, alpha, beta)
	if _, _, err := alpha.Client().ConfigEntries().Set(&api.ServiceIntentionsConfigEntry{
		Kind: api.ServiceIntentions, Name: "payments",
		Sources: []*api.SourceIntention{
			{Name: "checkout", Peer: "beta", Action: api.IntentionActionAllow},
			{Name: "*", Peer: "beta", Action: api.IntentionActionDeny},
		},
	}, nil); err != nil {
		t.Fatal(err)
	}
	cfg := at(alpha, "payments")
	cfg.SnapshotDir = t.TempDir()
	cfg.Registrar = static.New(static.Config{}) // callers are told where it is
	first := start(t, "payments-1", cfg)
	expect := idOf(t, identity(t, alpha, "payments"))
	foreign, err := consulca.FollowPeers(consulca.PeersConfig{Client: beta.Client()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = foreign.Close() })
	from := func(service string, in *instance) map[string]call {
		own, err := security.Federate(identity(t, beta, service), foreign)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = own.Close() })
		return calls(t, join(t, mesh.Config{Service: service, Identity: own, Catalog: pointed(t, in, expect)}), "payments")
	}
	for kind, c := range from("checkout", first) {
		until(t, kind+": the peer's caller is answered", func() bool {
			got, err := c(bound(t))
			return err == nil && got.server == "payments-1"
		})
	}
	file := filepath.Join(cfg.SnapshotDir, "peers-payments.json")
	until(t, "the peering, the intentions and the identity are on disk", func() bool {
		peers, _ := os.ReadFile(file)
		rules, _ := os.ReadFile(filepath.Join(cfg.SnapshotDir, "authz-payments.json"))
		id, _ := filepath.Glob(filepath.Join(cfg.SnapshotDir, "identity-*"))
		return bytes.Contains(peers, []byte("beta")) && bytes.Contains(rules, []byte("checkout")) && len(id) > 0
	})

	first.stop(t)
	alpha.Kill()
	second := start(t, "payments-2", cfg)
	for kind, c := range from("checkout", second) {
		got, err := c(bound(t))
		id, perr := security.ParseServiceID(got.peer)
		if err != nil || perr != nil || got.server != "payments-2" || id.Service != "checkout" || id.Datacenter != "beta" {
			t.Errorf("%s: the peer's caller got %+v, %v, from a server that started without Consul", kind, got, err)
		}
	}
	for kind, c := range from("stranger", second) {
		if got, err := c(bound(t)); err == nil && got.server == "payments-2" {
			t.Errorf("%s: a server that started without Consul lets in whom the intentions deny: %+v", kind, got)
		}
	}

	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	third := start(t, "payments-3", cfg)
	for kind, c := range from("checkout", third) {
		if got, err := c(bound(t)); err == nil && got.server == "payments-3" {
			t.Errorf("%s: a server that knows no peering lets a peer's caller in: %+v", kind, got)
		}
	}
}
