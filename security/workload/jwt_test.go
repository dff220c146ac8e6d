package workload_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/internal/testpki"
	"github.com/weft-mesh/weft/internal/workloadtest"
	source "github.com/weft-mesh/weft/security/workload"
)

// jwtAgent is an agent that issues JWT-SVIDs too.
type jwtAgent struct {
	*workloadtest.Agent
	key           *ecdsa.PrivateKey
	life          time.Duration
	gone          atomic.Bool
	issued, asked atomic.Int64
}

func (a *jwtAgent) FetchJWTSVID(_ context.Context, r *workload.JWTSVIDRequest) (*workload.JWTSVIDResponse, error) {
	if a.gone.Load() {
		return nil, status.Error(codes.PermissionDenied, "not registered")
	}
	a.issued.Add(1)
	part := func(v any) string { b, _ := json.Marshal(v); return base64.RawURLEncoding.EncodeToString(b) }
	now := time.Now()
	text := part(map[string]string{"alg": "ES256", "kid": "k"}) + "." + part(map[string]any{
		"sub": r.GetSpiffeId(), "aud": r.GetAudience(), "iat": now.Unix(), "exp": now.Add(a.life).Unix(),
	})
	sum := sha256.Sum256([]byte(text))
	x, y, err := ecdsa.Sign(rand.Reader, a.key, sum[:])
	if err != nil {
		return nil, err
	}
	sig := append(x.FillBytes(make([]byte, 32)), y.FillBytes(make([]byte, 32))...)
	return &workload.JWTSVIDResponse{Svids: []*workload.JWTSVID{{SpiffeId: r.GetSpiffeId(), Svid: text + "." + base64.RawURLEncoding.EncodeToString(sig)}}}, nil
}

func (a *jwtAgent) FetchJWTBundles(_ *workload.JWTBundlesRequest, s grpc.ServerStreamingServer[workload.JWTBundlesResponse]) error {
	a.asked.Add(1)
	raw, err := a.key.PublicKey.Bytes() // 4, X, Y
	if err != nil {
		return err
	}
	enc := base64.RawURLEncoding.EncodeToString
	jwks := fmt.Sprintf(`{"keys":[{"kty":"EC","crv":"P-256","use":"jwt-svid","kid":"k","x":%q,"y":%q}]}`, enc(raw[1:33]), enc(raw[33:]))
	return s.Send(&workload.JWTBundlesResponse{Bundles: map[string][]byte{"spiffe://a.example": []byte(jwks)}})
}

// TestJWT: a token is fetched once per audience and kept, also while the agent denies
// us; others' tokens are checked with kept keys.
func TestJWT(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	base := workloadtest.New(t)
	base.Stop()
	a := &jwtAgent{Agent: base, key: key, life: time.Hour}
	base.ServeAs(a)
	ca := testpki.New(t, "a.example")
	a.Set(nil, []*testpki.CA{ca}, nil, ca.SVID(t, "spiffe://a.example/web"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := source.New(ctx, source.Config{Addr: a.Addr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if _, err := s.JWT(ctx, ""); err == nil {
		t.Error("a token for no audience")
	}
	for range 3 {
		for _, audience := range []string{"payments", "orders"} {
			got, err := s.JWT(ctx, audience)
			if err != nil || got.ID.String() != "spiffe://a.example/web" {
				t.Fatal(got, err)
			}
			if back, err := s.ValidateJWT(ctx, got.Marshal(), audience); err != nil || back.ID != got.ID {
				t.Errorf("validate: %v, %v", back, err)
			}
			if _, err := s.ValidateJWT(ctx, got.Marshal(), "else"); err == nil {
				t.Error("accepted for another audience")
			}
		}
	}
	if i, b := a.issued.Load(), a.asked.Load(); i != 2 || b != 1 {
		t.Errorf("%d tokens and %d key sets were fetched, want 2 and 1", i, b)
	}
	a.gone.Store(true)
	if _, err := s.JWT(ctx, "payments"); err != nil {
		t.Errorf("a kept token: %v", err)
	}
	if _, err := s.JWT(ctx, "new"); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a new token: %v", err)
	}
	// One whose second half has begun is renewed, or serves on if it cannot be.
	a.gone.Store(false)
	a.life = 2 * time.Second
	first, err := s.JWT(ctx, "brief")
	if err != nil {
		t.Fatal(err)
	}
	for {
		next, err := s.JWT(ctx, "brief")
		if err != nil {
			t.Fatal(err)
		}
		if next.Marshal() != first.Marshal() {
			break
		}
		<-time.After(5 * time.Millisecond)
	}
}
