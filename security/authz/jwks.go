package authz

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

const (
	maxKeys     = 64 << 10 // bytes of a key set
	maxKeyCount = 50
)

// algorithms are those that a verifier's keys cannot be used to sign with. None and
// those with a shared secret are not among them.
func algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
		jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
	}
}

// keySet is the keys of a provider. It does not change.
type keySet struct {
	keys []jose.JSONWebKey
	sum  [sha256.Size]byte // of its text
}

// keyRing has the keys that were fetched.
type keyRing interface {
	// fetched is the newest keys of a provider, or why there are none.
	fetched(*Provider) (*keySet, error)
}

// parseKeys reads a JSON Web Key Set. Keys that cannot verify a signature safely
// are left out; without any other the set is refused.
func parseKeys(data []byte) (*keySet, error) {
	if len(data) > maxKeys {
		return nil, fmt.Errorf("key set of %d bytes, the limit is %d", len(data), maxKeys)
	}
	if err := unambiguous(data); err != nil {
		return nil, errors.New("the key set is not JSON, or has a key twice")
	}
	var set struct{ Keys []json.RawMessage }
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, errors.New("the key set cannot be read")
	}
	if len(set.Keys) > maxKeyCount {
		return nil, fmt.Errorf("key set of %d keys, the limit is %d", len(set.Keys), maxKeyCount)
	}
	out := &keySet{sum: sha256.Sum256(data)}
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(raw) == nil && k.Valid() && (k.Use == "" || k.Use == "sig") && strong(k.Key) {
			out.keys = append(out.keys, k)
		}
	}
	if len(out.keys) == 0 {
		return nil, errors.New("the key set has no public key for signatures (RSA of 2048 bits, ECDSA, Ed25519)")
	}
	return out, nil
}

func strong(key any) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return k.N.BitLen() >= 2048 && k.N.BitLen() <= 8192
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	}
	return false
}

// candidates are the keys that can have made a signature.
func (s *keySet) candidates(kid, alg string) (out []*jose.JSONWebKey) {
	for i := range s.keys {
		k := &s.keys[i]
		if (kid == "" || k.KeyID == kid) && (k.Algorithm == "" || k.Algorithm == alg) && fits(k.Key, alg) {
			out = append(out, k)
		}
	}
	return out
}

// fits reports whether a key is of the kind that an algorithm needs.
func fits(key any, alg string) bool {
	switch key.(type) {
	case *rsa.PublicKey:
		return alg[0] == 'R' || alg[0] == 'P'
	case *ecdsa.PublicKey:
		return alg[:2] == "ES"
	}
	return alg == string(jose.EdDSA)
}
