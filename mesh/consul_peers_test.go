package mesh_test

import (
	"context"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/internal/consultest/ctest"
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resolver/consul"
	"github.com/weft-mesh/weft/security"
)

// TestPeersFromConsul: a server that is told nothing of its cluster's peerings learns
// their trust domains and CAs from Consul, also of one that is made later, and judges
// their callers by intentions; it forgets them when the peering ends. One that is
// told that there are no peers keeps to that.
func TestPeersFromConsul(t *testing.T) {
	t.Parallel()
	alpha := ctest.Start(t, consultest.Config{Datacenter: "alpha"})
	beta := ctest.Start(t, consultest.Config{Datacenter: "beta"})
	allow := func(service string, sources ...*api.SourceIntention) {
		t.Helper()
		e := &api.ServiceIntentionsConfigEntry{Kind: api.ServiceIntentions, Name: service, Sources: sources}
		if _, _, err := alpha.Client().ConfigEntries().Set(e, nil); err != nil {
			t.Fatal(err)
		}
	}
	checkout := &api.SourceIntention{Name: "checkout", Peer: "beta", Action: api.IntentionActionAllow}
	start(t, "payments-1", at(alpha, "payments"))
	strict := at(alpha, "ledger")
	strict.Authorization.Peers = map[string]string{}
	start(t, "ledger-1", strict)
	peer(t, alpha, beta)
	exportAll(t, alpha, "beta", "payments", "ledger")
	allow("payments", checkout)
	allow("ledger", checkout)

	abroad := at(beta, "checkout")
	abroad.Clouds = append(abroad.Clouds, consul.Config{Name: "alpha", Address: beta.HTTPAddr(), Peer: "alpha"})
	away := join(t, abroad)
	for kind, c := range calls(t, away, "payments") {
		until(t, kind+": the peer's caller is answered", func() bool {
			got, err := c(bound(t))
			id, perr := security.ParseServiceID(got.peer)
			return err == nil && perr == nil && got.server == "payments-1" && id.Service == "checkout" && id.Datacenter == "beta"
		})
	}
	for kind, c := range calls(t, away, "ledger") {
		if got, err := c(bound(t)); err == nil && got.server == "ledger-1" {
			t.Errorf("%s: a server without peers answers one: %+v", kind, got)
		}
	}

	// The intention decides, not the peering.
	deny := &api.SourceIntention{Name: "checkout", Peer: "beta", Action: api.IntentionActionDeny}
	allow("payments", deny)
	for kind, c := range calls(t, away, "payments") {
		until(t, kind+": the peer's caller is refused", func() bool {
			got, err := c(bound(t))
			return refused(err) || err == nil && got.server != "payments-1" // an HTTP answer says why
		})
	}
	allow("payments", checkout)

	stream := duplex(t, away, "payments")
	for a, name := range map[*consultest.Agent]string{alpha: "beta", beta: "alpha"} {
		if _, err := a.Client().Peerings().Delete(t.Context(), name, nil); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	if _, err := stream.Recv(); err == nil {
		t.Error("the peer's stream goes on")
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the stream ended %v after the peering", took)
	}
}

// duplex opens a stream once it is allowed.
func duplex(t *testing.T, m *mesh.Mesh, service string) (s grpc_testing.TestService_FullDuplexCallClient) {
	t.Helper()
	conn, err := m.Dial(service)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "a stream is open", func() bool {
		ctx, cancel := context.WithCancel(t.Context())
		if s, err = grpc_testing.NewTestServiceClient(conn).FullDuplexCall(ctx); err == nil {
			err = echoOnce(s)
		}
		if err != nil {
			cancel()
			return false
		}
		t.Cleanup(cancel)
		return true
	})
	return s
}

// exportAll exports services to a peer.
func exportAll(t *testing.T, a *consultest.Agent, peer string, services ...string) {
	t.Helper()
	e := &api.ExportedServicesConfigEntry{Name: "default"}
	for _, s := range services {
		e.Services = append(e.Services, api.ExportedService{Name: s, Consumers: []api.ServiceConsumer{{Peer: peer}}})
	}
	if _, _, err := a.Client().ConfigEntries().Set(e, nil); err != nil {
		t.Fatal(err)
	}
}
