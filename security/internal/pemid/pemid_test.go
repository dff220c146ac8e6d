package pemid

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"testing"

	"github.com/weft-mesh/weft/internal/testpki"
)

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func TestSVID(t *testing.T) {
	t.Parallel()
	ca := testpki.New(t, "a.example").Intermediate(t)
	svid := ca.SVID(t, "spiffe://a.example/x")
	chain := append(block("CERTIFICATE", svid.Certificates[0].Raw), block("CERTIFICATE", svid.Certificates[1].Raw)...)
	ec, err := x509.MarshalECPrivateKey(svid.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	p8, err := x509.MarshalPKCS8PrivateKey(svid.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p1 := x509.MarshalPKCS1PrivateKey(rsaKey)
	for name, tt := range map[string]struct {
		chain, key []byte
		ok         bool
	}{
		"pkcs8":                 {chain, block("PRIVATE KEY", p8), true},
		"ec":                    {chain, block("EC PRIVATE KEY", ec), true},
		"ec with parameters":    {chain, append(block("EC PARAMETERS", []byte{1}), block("EC PRIVATE KEY", ec)...), true},
		"blank lines":           {append([]byte("\n \n"), chain...), block("PRIVATE KEY", p8), true},
		"another key":           {chain, block("RSA PRIVATE KEY", p1), false},
		"no key":                {chain, nil, false},
		"broken key":            {chain, block("EC PRIVATE KEY", ec[:20]), false},
		"no certificate":        {nil, block("PRIVATE KEY", p8), false},
		"half a chain":          {chain[:len(chain)-40], block("PRIVATE KEY", p8), false},
		"key among the chain":   {append(bytes.Clone(chain), block("PRIVATE KEY", p8)...), block("PRIVATE KEY", p8), false},
		"chain in wrong order":  {append(block("CERTIFICATE", svid.Certificates[1].Raw), block("CERTIFICATE", svid.Certificates[0].Raw)...), block("PRIVATE KEY", p8), false},
		"certificate too large": {bytes.Repeat(chain, 1+MaxBytes/len(chain)), block("PRIVATE KEY", p8), false},
		"key too large":         {chain, make([]byte, MaxBytes+1), false},
	} {
		got, err := SVID(tt.chain, tt.key)
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v, want ok %v", name, err, tt.ok)
		}
		if err == nil && (got.ID != svid.ID || len(got.Certificates) != 2) {
			t.Errorf("%s: %v with %d certificates", name, got.ID, len(got.Certificates))
		}
	}
}

func FuzzSVID(f *testing.F) {
	svid := testpki.New(f, "a.example").SVID(f, "spiffe://a.example/x")
	cert, key, err := svid.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(cert, key)
	f.Add(cert[:len(cert)/2], key)
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"), []byte("-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, chain, key []byte) {
		got, err := SVID(chain, key)
		if err == nil && (got.ID.IsZero() || got.ID.Path() == "" || len(got.Certificates) == 0 || got.PrivateKey == nil) {
			t.Errorf("accepted %+v", got)
		}
	})
}
