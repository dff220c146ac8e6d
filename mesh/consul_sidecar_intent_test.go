package mesh_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/internal/consultest/ctest"
	"github.com/weft-mesh/weft/security"
)

// testSidecarIntentions: a member serves callers that have Consul's proxy in front by
// the intentions alone: those allowed are served and seen by name, those denied are
// refused by the member, over connections that were open before too.
func testSidecarIntentions(t *testing.T, a *consultest.Agent) {
	for _, kind := range []string{"http", "grpc"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			name := "bank-" + kind
			in := &instance{name: name, m: join(t, at(a, name))}
			serveOne(t, in, kind == "http")
			call := map[string]func() (answer, error){}
			for _, caller := range []string{"teller", "robber"} {
				port := ctest.FreePort(t)
				ctest.Sidecar(t, a, "-service", caller, "-upstream", fmt.Sprintf("%s:%d", name, port))
				call[caller] = plainCall(t, kind, port)
			}
			served := func(caller string) bool {
				got, err := call[caller]()
				if err != nil {
					return false
				}
				if id, err := security.ParseServiceID(got.peer); err != nil || id.Service != caller || got.server != name {
					t.Errorf("%s was seen as %s by %s", caller, got.peer, got.server)
				}
				return true
			}
			denied := func(caller string) bool {
				_, err := call[caller]()
				return refused(err) || errors.Is(err, errForbidden)
			}
			sources := func(teller, robber api.IntentionAction) {
				intentions(t, a, name, &api.SourceIntention{Name: "teller", Action: teller}, &api.SourceIntention{Name: "robber", Action: robber})
			}
			const allow, deny = api.IntentionActionAllow, api.IntentionActionDeny
			sources(allow, allow)
			until(t, "both are served", func() bool { return served("teller") && served("robber") })
			began := time.Now()
			sources(allow, deny)
			until(t, "robber is refused", func() bool { return denied("robber") })
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
			handled := in.handled.Load()
			for range 3 {
				if _, err := call["robber"](); err == nil {
					t.Error("robber was served after it was denied")
				}
			}
			if n := in.handled.Load(); n != handled {
				t.Errorf("%d denied calls were handled", n-handled)
			}
			until(t, "teller is served", func() bool { return served("teller") })
			sources(deny, allow)
			until(t, "they have changed places", func() bool { return denied("teller") && served("robber") })
		})
	}
}
