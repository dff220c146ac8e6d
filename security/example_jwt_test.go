package security_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/security"
)

// A token counts for the audience that it was made for. The keys come from a
// workload.Source or a bundleendpoint.Source in a program, and so does the token.
func ExampleValidateJWT() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		fmt.Println(err)
		return
	}
	keys := jwtbundle.New(spiffeid.RequireTrustDomainFromString("mesh.example"))
	if err := keys.AddJWTAuthority("k1", &key.PublicKey); err != nil {
		fmt.Println(err)
		return
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "k1"))
	if err != nil {
		fmt.Println(err)
		return
	}
	claims, err := json.Marshal(map[string]any{
		"sub": "spiffe://mesh.example/order", "aud": []string{"payments"}, "exp": time.Now().Add(time.Minute).Unix(),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		fmt.Println(err)
		return
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, audience := range []string{"payments", "stock"} {
		svid, err := security.ValidateJWT(token, keys, audience)
		if err != nil {
			fmt.Println(audience, "refused")
			continue
		}
		fmt.Println(audience, svid.ID)
	}
	// Output:
	// payments spiffe://mesh.example/order
	// stock refused
}
