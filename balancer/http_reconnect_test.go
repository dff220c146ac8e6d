package balancer

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

// After a long failure the next probe is seconds away; Reconnect does not wait for it,
// and the pauses begin anew, so that a second repair is noticed soon too.
func TestReconnect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newPipeNet(t, "10.0.0.1:80")
		var down atomic.Bool
		var tries atomic.Int64
		store := &Store{}
		tr := newTransport(t, TransportConfig{
			Balancer: Config{Store: store},
			Catalog:  shop(t, resolver.Endpoint{Addr: "10.0.0.1:80"}), Plaintext: true,
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				tries.Add(1)
				if down.Load() {
					return nil, errors.New("refused")
				}
				return n.dial(ctx, network, addr)
			},
		})
		defer func() { _ = tr.Close(t.Context()) }()
		for _, early := range []time.Duration{0, 300 * time.Millisecond} {
			down.Store(true)
			tr.CloseIdleConnections()
			_, _, _ = get(t, tr) // it fails, and probes begin
			time.Sleep(2 * time.Minute)
			before := tries.Load()
			if early > 0 {
				store.Reconnect()
				time.Sleep(early)
			}
			down.Store(false)
			if early == 0 {
				store.Reconnect()
			}
			time.Sleep(500 * time.Millisecond)
			if _, _, err := get(t, tr); err != nil {
				t.Errorf("half a second after the repair: %v", err)
			}
			if more := tries.Load() - before; more < 1 || more > 6 {
				t.Errorf("%d attempts to connect", more)
			}
		}
	})
}
