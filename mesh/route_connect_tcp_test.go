package mesh

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/security"
)

// On a real network, too, an endpoint that accepts and says nothing is given up after
// the entry's ConnectTimeout: the Config's is longer than any test lasts.
func TestConnectTimeoutOverTCP(t *testing.T) {
	t.Parallel()
	for name, shake := range map[string]bool{"before TLS": false, "after TLS": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := embedded(t)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			creds := security.ServerCredentials(member(t, Config{Service: "web", Embedded: e}).identity, nil)
			far := make(chan struct{}, 100)
			var conns sync.WaitGroup
			conns.Go(func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					conns.Go(func() {
						defer c.Close()
						end := c
						if shake {
							if end, _, err = creds.ServerHandshake(c); err != nil {
								return // it took the caller too long
							}
						}
						select {
						case far <- struct{}{}:
						default:
						}
						for b := make([]byte, 1024); err == nil; {
							_, err = end.Read(b)
						}
					})
				}
			})
			t.Cleanup(func() { _ = l.Close(); conns.Wait() })
			ent := newEntries(t, `{"Kind":"service-defaults","Name":"web","Protocol":"grpc"}`, webResolver("400ms"))
			m := member(t, Config{Service: "caller", Embedded: e, Chains: ent.source(), ConnectTimeout: time.Hour})
			if _, err := e.Catalog.Register(t.Context(), resolver.Instance{Service: "web", ID: "1", Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, Weight: 1}); err != nil {
				t.Fatal(err)
			}
			web := dial(t, m, "web")
			for done := false; !done; { // until an attempt has got as far as it can
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				_, err := web.UnaryCall(ctx, &grpc_testing.SimpleRequest{})
				cancel()
				if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "within the ConnectTimeout, 400ms") {
					t.Fatal(err)
				}
				select {
				case <-far:
					done = true
				default:
				}
			}
		})
	}
}
