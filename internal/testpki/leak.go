package testpki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
	"testing"
)

// Secrets are the forms in which secrets would be found in a text, by what they are.
type Secrets map[string][]string

// Token adds a token, in clear text, base64 and hex.
func (s Secrets) Token(name, token string) { s[name] = append(forms([]byte(token)), token) }

// Key adds a private key: its number, and its PKCS #8 and SEC 1 encodings, in base64
// (so PEM, too), hex, and as Go prints bytes.
func (s Secrets) Key(t testing.TB, name string, key crypto.Signer) {
	t.Helper()
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	s[name] = forms(pkcs8)
	if ec, ok := key.(*ecdsa.PrivateKey); ok {
		sec1, err := x509.MarshalECPrivateKey(ec)
		if err != nil {
			t.Fatal(err)
		}
		d, err := ec.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		s[name] = append(append(append(s[name], forms(sec1)...), forms(d)...), new(big.Int).SetBytes(d).String())
	}
}

// Find names a secret that text holds, and where; empty: none.
func (s Secrets) Find(text string) string {
	// PEM and some dumps break lines.
	flat := strings.NewReplacer("\n", "", "\r", "", `\n`, "").Replace(text)
	for name, list := range s {
		for _, form := range list {
			for _, in := range []string{text, flat} {
				if i := strings.Index(in, form); i >= 0 {
					return fmt.Sprintf("%s is shown: …%q…", name, in[max(0, i-200):min(len(in), i+len(form)+50)])
				}
			}
		}
	}
	if i := strings.Index(text, "PRIVATE KEY-----"); i >= 0 {
		return fmt.Sprintf("a private key is shown: …%q…", text[max(0, i-200):i+16])
	}
	return ""
}

// forms are the texts of bytes. Base64 has three, by where in a longer one they begin.
func forms(b []byte) []string {
	list := []string{hex.EncodeToString(b), strings.ToUpper(hex.EncodeToString(b)), strings.Trim(fmt.Sprint(b), "[]"), strings.Trim(fmt.Sprintf("%#v", b), "[]byte{}")}
	for shift := range 3 {
		for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
			text := strings.TrimRight(enc.EncodeToString(append(make([]byte, shift), b...)), "=")
			list = append(list, text[min(len(text), 4):max(4, len(text)-2)])
		}
	}
	return list
}
