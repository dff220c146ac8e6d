package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// policy is the file of rules that payment enforces: Consul's config entries, and a
// condition (CEL), which Consul has none of. Of order, in the EU, in office hours,
// with a token whose role is agent, and of nobody else.
const policy = `
kind: jwt-provider
name: staff
issuer: https://staff.example
json_web_key_set:
  local: {jwks: %q}
---
kind: service-intentions
name: payment
sources:
  - name: order
    permissions:
      - action: allow
        http: {path_exact: /weft.examples.pay.Payments/Charge, methods: [POST]}
        jwt: {providers: [{name: staff}]}
        condition: claims.role == "agent" && caller.region.startsWith("eu-") && now.getHours("UTC") in %s
      - action: allow
        http: {path_exact: /charge, methods: [POST]}
        jwt: {providers: [{name: staff}]}
        condition: claims.role == "agent" && caller.region.startsWith("eu-") && now.getHours("UTC") in %s
  - name: "*"
    action: deny
`

// office writes the policy with office hours that are now, or are not.
func (s *staff) office(path string, open bool) error {
	from := time.Now().UTC().Hour()
	if !open {
		from += 12
	}
	hours := "["
	for i := range 3 {
		if i > 0 {
			hours += ", "
		}
		hours += fmt.Sprint((from + i) % 24)
	}
	hours += "]"
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &s.key.PublicKey, KeyID: "1", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		return err
	}
	return os.WriteFile(path, fmt.Appendf(nil, policy, base64.StdEncoding.EncodeToString(keys), hours, hours), 0o600)
}

// staff issues the tokens of people.
type staff struct{ key *ecdsa.PrivateKey }

func newStaff() (*staff, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return &staff{key}, err
}

// token is one for somebody with a role.
func (s *staff) token(role string) (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: s.key}, (&jose.SignerOptions{}).WithHeader("kid", "1"))
	if err != nil {
		return "", err
	}
	claims, err := json.Marshal(map[string]any{"iss": "https://staff.example", "exp": time.Now().Add(time.Hour).Unix(), "role": role})
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}
