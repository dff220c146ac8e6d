// Package resolvertest checks that an implementation of [resolver.Catalog] keeps
// its contract, as testing/slogtest does for slog handlers:
//
//	func TestContract(t *testing.T) {
//		resolvertest.Run(t, func(t *testing.T) resolvertest.Subject {
//			cat := static.New(static.Config{})
//			return resolvertest.Subject{
//				Catalog: cat,
//				Set:     func(service string, addrs ...string) { ... },
//			}
//		})
//	}
//
// What the source cannot do (be lost, be closed) is left nil in the [Subject], and
// its checks are then not run. The suite waits for deliveries, never for time, so
// it runs against a real server as well as in a bubble of testing/synctest.
//
// It does not check what an endpoint means: locality, weights and identity are
// for the tests of each implementation.
package resolvertest
