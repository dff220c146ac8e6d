package mesh_test

import (
	"context"
	"strings"
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

// TestPeering: two clusters with CAs of their own. A member of one calls a member of
// the other, each end verified against its own cluster's CA; when the peering ends so
// do the streams between them (drill D17), and nothing else.
func TestPeering(t *testing.T) {
	t.Parallel()
	alpha := ctest.Start(t, consultest.Config{Datacenter: "alpha"})
	beta := ctest.Start(t, consultest.Config{Datacenter: "beta"})
	peer(t, alpha, beta)
	export(t, alpha, "payments", "beta")

	// The server is of alpha and knows beta's CA by the peering.
	cfg := at(alpha, "payments")
	cfg.Clouds = append(cfg.Clouds, consul.Config{Name: "beta", Address: alpha.HTTPAddr(), Peer: "beta"})
	cfg.Authorize = func(p security.PeerID) error { // of any trust domain that has a bundle
		_, err := p.Service()
		return err
	}
	// Consul's default covers callers of the own cluster only: a peer's need an intention.
	roots, _, err := beta.Client().Agent().ConnectCARoots(nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Authorization.Peers = map[string]string{"beta": roots.TrustDomain}
	if _, _, err := alpha.Client().ConfigEntries().Set(&api.ServiceIntentionsConfigEntry{
		Kind: api.ServiceIntentions, Name: "payments",
		Sources: []*api.SourceIntention{{Name: "checkout", Peer: "beta", Action: api.IntentionActionAllow}},
	}, nil); err != nil {
		t.Fatal(err)
	}
	in := start(t, "payments-1", cfg)
	domain := func(m *mesh.Mesh, service string) string {
		for _, c := range calls(t, m, service) {
			var got answer
			until(t, "a call to "+service+" is answered", func() (ok bool) {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				var err error
				if got, err = c(ctx); err != nil {
					t.Log(err)
				}
				return err == nil
			})
			id, err := security.ParseServiceID(got.peer)
			if err != nil || got.server != "payments-1" {
				t.Fatalf("answer %+v, %v", got, err)
			}
			return id.TrustDomain
		}
		return ""
	}
	abroad := at(beta, "checkout")
	abroad.Clouds = append(abroad.Clouds, consul.Config{Name: "alpha", Address: beta.HTTPAddr(), Peer: "alpha"})
	away, home := join(t, abroad), join(t, at(alpha, "local"))
	theirs, ours := domain(away, "payments"), domain(home, "payments")
	if theirs == ours || theirs == "" {
		t.Fatalf("callers of two clusters are both of trust domain %q", theirs)
	}
	// Who is of a cluster without a peering is nobody.
	gamma := ctest.Start(t, consultest.Config{Datacenter: "gamma"})
	strange := mesh.Config{
		Service: "checkout", Identity: identity(t, gamma, "checkout"),
		Catalog: pointed(t, in, "spiffe://"+ours+"/ns/default/dc/alpha/svc/payments"),
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := calls(t, join(t, strange), "payments")["gRPC"](ctx); err == nil || !strings.Contains(err.Error(), security.ErrUnknownTrustDomain.Error()) {
		t.Errorf("called from a cluster that nobody is peered with: %v", err)
	}

	streams := map[string]grpc_testing.TestService_FullDuplexCallClient{}
	for name, m := range map[string]*mesh.Mesh{"peer": away, "own": home} {
		conn, err := m.Dial("payments")
		if err != nil {
			t.Fatal(err)
		}
		s, err := grpc_testing.NewTestServiceClient(conn).FullDuplexCall(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		streams[name] = s
		if err := echoOnce(s); err != nil {
			t.Fatal(name, err)
		}
	}
	for a, name := range map[*consultest.Agent]string{alpha: "beta", beta: "alpha"} {
		if _, err := a.Client().Peerings().Delete(t.Context(), name, nil); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	if _, err := streams["peer"].Recv(); err == nil {
		t.Error("the peer's stream goes on")
	}
	t.Logf("the stream ended %v after the peering", time.Since(began).Round(time.Millisecond))
	if err := echoOnce(streams["own"]); err != nil {
		t.Errorf("the own cluster's stream ended too: %v", err)
	}
}

func echoOnce(s grpc_testing.TestService_FullDuplexCallClient) error {
	if err := s.Send(&grpc_testing.StreamingOutputCallRequest{}); err != nil {
		return err
	}
	_, err := s.Recv()
	return err
}

// peer makes two clusters peers of each other.
func peer(t *testing.T, a, b *consultest.Agent) {
	t.Helper()
	tok, _, err := a.Client().Peerings().GenerateToken(t.Context(), api.PeeringGenerateTokenRequest{PeerName: b.Datacenter}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Client().Peerings().Establish(t.Context(), api.PeeringEstablishRequest{PeerName: a.Datacenter, PeeringToken: tok.PeeringToken}, nil); err != nil {
		t.Fatal(err)
	}
}

func export(t *testing.T, a *consultest.Agent, service, peer string) {
	t.Helper()
	if _, _, err := a.Client().ConfigEntries().Set(&api.ExportedServicesConfigEntry{
		Name: "default", Services: []api.ExportedService{{Name: service, Consumers: []api.ServiceConsumer{{Peer: peer}}}},
	}, nil); err != nil {
		t.Fatal(err)
	}
}
