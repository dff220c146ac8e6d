package security_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"

	"github.com/weft-mesh/weft/security"
)

func TestGoodPeersConnect(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	t.Run("grpc", func(t *testing.T) {
		t.Parallel()
		var calls atomic.Int64
		var got atomic.Value
		see := func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
			id, ok := security.PeerFromContext(ctx)
			if ok {
				got.Store(id.String())
			}
			return h(ctx, req)
		}
		addr := grpcServer(t, security.ServerCredentials(p.server, nil), &calls, grpc.ChainUnaryInterceptor(see))
		if err := grpcCall(t, security.ClientCredentials(p.client, expectID(serverID)), addr); err != nil {
			t.Fatal(err)
		}
		if got.Load() != clientID {
			t.Errorf("handler saw peer %v, want %s", got.Load(), clientID)
		}
	})
	for _, h2 := range []bool{false, true} {
		t.Run(map[bool]string{false: "http1", true: "http2"}[h2], func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int64
			var got atomic.Value
			cfg := must[*tlsConfig](t)(security.HTTPServerTLS(p.server, nil))
			addr := httpServer(t, cfg, &calls, func(_ http.ResponseWriter, r *http.Request) {
				if id, ok := security.PeerFromRequest(r); ok {
					got.Store(id.String())
				}
			})
			resp, err := httpCall(t, must[*tlsConfig](t)(security.HTTPClientTLS(p.client, serverID)), addr, h2)
			if err != nil {
				t.Fatal(err)
			}
			if want := map[bool]int{false: 1, true: 2}[h2]; resp.ProtoMajor != want {
				t.Errorf("HTTP/%d was spoken, want HTTP/%d", resp.ProtoMajor, want)
			}
			if got.Load() != clientID {
				t.Errorf("handler saw peer %v, want %s", got.Load(), clientID)
			}
		})
	}
}
