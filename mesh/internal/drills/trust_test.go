package drills

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/weft-mesh/weft/internal/drill"
	"github.com/weft-mesh/weft/internal/testpki"
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/security"
)

// D17: the bundle of a federated domain is removed while its callers' streams are open.
func TestTrustRemoved(t *testing.T) {
	t.Parallel()
	const theirs = "spiffe://b.example/ns/default/dc/home/svc/"
	for _, tc := range []struct {
		name   string
		remove func(members []*identity, b *testpki.CA)
		kept   bool
	}{
		{"D17 bundle removed", func(members []*identity, b *testpki.CA) {
			for _, m := range members {
				m.SetBundle(b.TrustDomain, nil)
				m.announce()
			}
		}, true},
		{"D17 bundle empty", func(members []*identity, b *testpki.CA) {
			for _, m := range members {
				m.SetBundle(b.TrustDomain, x509bundle.New(b.TrustDomain))
				m.announce()
			}
		}, true},
		{"D17 unannounced", func(members []*identity, b *testpki.CA) {
			for _, m := range members {
				m.SetBundle(b.TrustDomain, nil)
			}
		}, true},
		{"twin whose bundle stays", func([]*identity, *testpki.CA) {}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newRotation(t, 0, func(security.PeerID) error { return nil })
				defer w.close()
				b := testpki.New(t, "b.example")
				for _, m := range w.members {
					m.SetBundle(b.TrustDomain, b.Bundle())
					m.announce()
				}
				foreign := w.identity("partner")
				foreign.id = theirs + "partner"
				foreign.renew(t, b)
				foreign.SetBundle(b.TrustDomain, b.Bundle())
				m, err := mesh.Join(context.Background(), mesh.Config{
					Service: "partner", Embedded: w.embedded, Identity: foreign, Locality: resolver.Locality{Cloud: "home"}, DialContext: w.net.Dialer("home"),
					PeerID: func(e *resolver.Endpoint) string { return "spiffe://a.example/ns/default/dc/home/svc/" + e.Service },
				})
				w.must(err)
				w.closers = append(w.closers, func() { w.must(m.Leave(context.Background())) })
				synctest.Wait()
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				var load sync.WaitGroup
				load.Go(func() { w.load(15 * time.Second) })
				pass(3 * time.Second)
				rpc := w.dial(m, payments)
				ends, own := w.openTwo(ctx, m, rpc), w.openTwo(ctx, w.caller, w.rpc)
				pass(time.Second)
				for _, e := range append(ends, own...) {
					if e.at.Load() != 0 {
						t.Fatalf("%s ended before", e.what)
					}
				}
				strays := w.strays.Load()
				tc.remove(w.members, b)
				pass(5 * time.Second)
				synctest.Wait()
				open := 0
				for _, e := range ends {
					if e.at.Load() == 0 {
						open++
					}
				}
				_, call := rpc.UnaryCall(ctx, &grpc_testing.SimpleRequest{}, grpc.WaitForReady(false))
				request := visit(ctx, m, "http://"+web+"/")
				refused := call != nil && request != nil && w.strays.Load() == strays
				if kept := open == 0 && refused; kept != tc.kept {
					t.Errorf("kept %v: %d of the domain's %d calls are open after 5 s, new ones: %v, %v", kept, open, len(ends), call, request)
				}
				for _, e := range own {
					if e.at.Load() != 0 {
						t.Errorf("our own domain: %s ended", e.what)
					}
				}
				load.Wait()
				if err := drill.CheckSuccess("our own domain", w.ledger.Requests(nil), 1); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
