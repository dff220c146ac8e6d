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

// TestSNI has the names that Consul's own proxies send and route by.
func TestSNI(t *testing.T) {
	t.Parallel()
	const td = "11111111-2222-3333-4444-555555555555.consul"
	for id, want := range map[string]string{
		"spiffe://" + td + "/ns/default/dc/dc1/svc/db":          "db.default.dc1.internal." + td,
		"spiffe://" + td + "/ap/foo/ns/bar/dc/dc1/svc/db":       "db.bar.foo.dc1.internal-v1." + td,
		"spiffe://" + td + "/ap/default/ns/default/dc/d/svc/db": "db.default.d.internal." + td,
	} {
		s, err := security.ParseServiceID(id)
		if err != nil || s.SNI() != want {
			t.Errorf("%s: %q, %v; want %q", id, s.SNI(), err, want)
		}
	}
	p := newPair(t)
	if cfg, err := security.ClientTLS(p.client, serverID); err != nil || cfg.ServerName != "payments.default.aws.internal."+tdA {
		t.Errorf("ClientTLS sends %q, %v", cfg.ServerName, err)
	}
	if cfg, err := security.ClientTLS(p.client, "spiffe://a.example/web"); err != nil || cfg.ServerName != "" {
		t.Errorf("ClientTLS for an ID that is not of Consul's form sends %q, %v", cfg.ServerName, err)
	}
}
