package testpki

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"testing"
)

// TestSecretsAreFound: each form of a secret that is planted in a text is found, and
// nothing is where nothing is.
func TestSecretsAreFound(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	const token = "ca9a4100-0000-4000-8000-00000000beef"
	s := Secrets{}
	s.Key(t, "the key", key)
	s.Token("the token", token)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	log := func(args ...any) string {
		var b bytes.Buffer
		slog.New(slog.NewJSONHandler(&b, nil)).Info("x", args...)
		return b.String()
	}
	asJSON, err := json.Marshal(map[string]any{"key": pkcs8})
	if err != nil {
		t.Fatal(err)
	}
	body := pem.EncodeToMemory(&pem.Block{Type: "X", Bytes: sec1})
	for name, text := range map[string]string{
		"PEM":               string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})),
		"PEM of no name":    string(body),
		"PEM in a log":      log("pem", string(body)),
		"hex":               hex.EncodeToString(pkcs8),
		"JSON":              string(asJSON),
		"base64 of more":    base64.URLEncoding.EncodeToString(append([]byte("yz"), sec1...)),
		"%v of DER":         fmt.Sprint(pkcs8),
		"%+v of the key":    fmt.Sprintf("%+v", key),
		"another key's PEM": "-----BEGIN PRIVATE KEY-----",
		"token":             log("error", fmt.Errorf("agent: token %q lacks", token)),
		"token in base64":   base64.StdEncoding.EncodeToString([]byte("user:" + token)),
		"token in hex":      hex.EncodeToString([]byte(token)),
	} {
		if s.Find("before "+text+" after") == "" {
			t.Errorf("%s is not found in %q", name, text)
		}
	}
	other, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Find(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: other})) + log("id", "spiffe://a.example/x")); got != "" {
		t.Errorf("found where there is none: %s", got)
	}
}
