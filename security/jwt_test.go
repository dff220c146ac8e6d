package security_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/security"
)

func newJWTKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	return must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
}

// jwt signs by ES256 unless the header says otherwise.
func jwt(t testing.TB, key *ecdsa.PrivateKey, header, claims map[string]any) string {
	t.Helper()
	part := func(v any) string {
		return base64.RawURLEncoding.EncodeToString(must[[]byte](t)(json.Marshal(v)))
	}
	text := part(header) + "." + part(claims)
	var sig []byte
	switch header["alg"] {
	case "none":
	case "HS256":
		mac := hmac.New(sha256.New, must[[]byte](t)(key.PublicKey.Bytes())) // the key that all know
		mac.Write([]byte(text))
		sig = mac.Sum(nil)
	default:
		sum := sha256.Sum256([]byte(text))
		r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		sig = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(sig)
}

func jwtBundles(a, b *ecdsa.PrivateKey) *jwtbundle.Set {
	set := jwtbundle.NewSet()
	for td, key := range map[string]*ecdsa.PrivateKey{tdA: a, "b.example": b} {
		bundle := jwtbundle.New(spiffeid.RequireTrustDomainFromString(td))
		_ = bundle.AddJWTAuthority("k-"+td, &key.PublicKey) // fails only for an empty key ID
		set.Add(bundle)
	}
	return set
}

func TestValidateJWT(t *testing.T) {
	t.Parallel()
	a, b := newJWTKey(t), newJWTKey(t)
	type m = map[string]any
	head := func(change ...any) m { return merge(m{"alg": "ES256", "kid": "k-" + tdA, "typ": "JWT"}, change) }
	body := func(change ...any) m {
		return merge(m{"sub": clientID, "aud": []string{"payments"}, "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix()}, change)
	}
	for name, tt := range map[string]struct {
		token string
		ok    bool
	}{
		"good":                     {jwt(t, a, head(), body()), true},
		"one of two audiences":     {jwt(t, a, head(), body("aud", []string{"x", "payments"})), true},
		"no exp":                   {jwt(t, a, head(), body("exp", nil)), false},
		"no aud":                   {jwt(t, a, head(), body("aud", nil)), false},
		"empty aud":                {jwt(t, a, head(), body("aud", []string{})), false},
		"other audience":           {jwt(t, a, head(), body("aud", "orders")), false},
		"expired":                  {jwt(t, a, head(), body("exp", time.Now().Add(-2*time.Minute).Unix())), false},
		"not yet valid":            {jwt(t, a, head(), body("nbf", time.Now().Add(time.Hour).Unix())), false},
		"alg none":                 {jwt(t, a, head("alg", "none"), body()), false},
		"HS256 of the public key":  {jwt(t, a, head("alg", "HS256"), body()), false},
		"alg of another kind":      {jwt(t, a, head("alg", "ES384"), body()), false},
		"key of another domain":    {jwt(t, b, head("kid", "k-b.example"), body()), false},
		"signed by another domain": {jwt(t, b, head(), body()), false},
		"no kid":                   {jwt(t, a, head("kid", nil), body()), false},
		"unknown domain":           {jwt(t, a, head(), body("sub", "spiffe://unknown.example/x")), false},
		"subject no SPIFFE ID":     {jwt(t, a, head(), body("sub", "web")), false},
		"subject a trust domain":   {jwt(t, a, head(), body("sub", "spiffe://"+tdA)), false},
		"no subject":               {jwt(t, a, head(), body("sub", nil)), false},
		"typ of something else":    {jwt(t, a, head("typ", "at+jwt"), body()), false},
		"over 8 KiB":               {jwt(t, a, head(), body("x", strings.Repeat("x", 8<<10))), false},
		"many dots":                {strings.Repeat(".", 4000), false},
		"two signatures":           {`{"payload":"e30","signatures":[{"signature":"x"},{"signature":"y"}]}`, false},
		"empty":                    {"", false},
	} {
		svid, err := security.ValidateJWT(tt.token, jwtBundles(a, b), "payments")
		if (err == nil) != tt.ok || err == nil && svid.ID.String() != clientID {
			t.Errorf("%s: %v, want ok %v", name, err, tt.ok)
		}
		if err != nil && (!errors.Is(err, security.ErrBadJWT) || len(tt.token) > 40 && strings.Contains(err.Error(), tt.token[:40]) || len(err.Error()) > 400) {
			t.Errorf("%s: error %q", name, err)
		}
	}
	good := jwt(t, a, head(), body())
	if _, err := security.ValidateJWT(good, jwtBundles(a, b)); err == nil {
		t.Error("accepted for no audience")
	}
	if _, err := security.ValidateJWT(good, nil, "payments"); err == nil {
		t.Error("accepted without bundles")
	}
	for i := range good { // no byte may be changed
		if good[i] == '.' || i == len(good)-1 || good[i+1] == '.' {
			continue // the last character of a part has bits that say nothing
		}
		bad := []byte(good)
		bad[i]++
		if svid, err := security.ValidateJWT(string(bad), jwtBundles(a, b), "payments"); err == nil {
			t.Fatalf("accepted with byte %d changed: %+v", i, svid)
		}
	}
}

func merge(m map[string]any, change []any) map[string]any {
	for i := 0; i+1 < len(change); i += 2 {
		if change[i+1] == nil {
			delete(m, change[i].(string))
		} else {
			m[change[i].(string)] = change[i+1]
		}
	}
	return m
}

// No bytes panic, and none but the one good token is accepted.
func FuzzValidateJWT(f *testing.F) {
	a, b := newJWTKey(f), newJWTKey(f)
	set := jwtBundles(a, b)
	claims := map[string]any{"sub": clientID, "aud": "payments", "exp": time.Now().Add(time.Hour).Unix()}
	good := jwt(f, a, map[string]any{"alg": "ES256", "kid": "k-" + tdA}, claims)
	f.Add(good)
	f.Add(jwt(f, a, map[string]any{"alg": "none"}, claims))
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		svid, err := security.ValidateJWT(token, set, "payments")
		if err == nil && (svid.ID.String() != clientID || svid.Expiry.Unix() != claims["exp"] || len(svid.Audience) != 1) {
			t.Errorf("accepted %q as %v", token, svid.ID)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\r\n\x00") {
			t.Errorf("error %q", err)
		}
	})
}
