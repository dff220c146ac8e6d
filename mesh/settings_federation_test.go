package mesh

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"

	"github.com/weft-mesh/weft/internal/testpki"
	"github.com/weft-mesh/weft/resolver/static"
	"github.com/weft-mesh/weft/security/bundleendpoint"
)

func TestFederationSetting(t *testing.T) {
	t.Parallel()
	partner := []bundleendpoint.Config{{TrustDomain: "b.example", URL: "https://b.example/bundle?token=hidden"}}
	for name, tt := range map[string]struct {
		cfg    Config
		env    string
		value  string
		origin Origin
	}{
		"default": {Config{}, "", "", FromDefault},
		"struct":  {Config{Federation: partner}, "c.example=https://c.example/", "b.example=https://b.example/bundle", FromStruct},
		"environment": {Config{}, "c.example=https://c.example/x?token=hidden, d.example = https://d:8443/ spiffe://d.example/spire /etc/d.pem,",
			"c.example=https://c.example/x,d.example=https://d:8443/ spiffe://d.example/spire", FromEnvironment},
	} {
		tt.cfg.Service = "a"
		r, err := resolve(tt.cfg, env("WEFT_FEDERATION", tt.env))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, _ := r.settings.list.Get("Federation"); got.Value != tt.value || got.Origin != tt.origin || got.Env != "WEFT_FEDERATION" {
			t.Errorf("%s: %+v, want %q from %s", name, got, tt.value, tt.origin)
		}
	}
}

func TestFederationSettingRefused(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]string{
		"https://b.example/":                              "entry 1 is not the name of a trust domain",
		"c.example=https://c/,B.example=https://b/":       "entry 2 is not the name of a trust domain",
		"spiffe://b.example=https://b/":                   "entry 1 is not the name of a trust domain",
		"b.example":                                       "b.example has 0 parts",
		"b.example=https://b/ spiffe://b.example/x":       "b.example has 2 parts",
		"b.example=https://b/ b.example/x /b.pem":         `"b.example/x" is not a SPIFFE ID`,
		"b.example=http://b/":                             "bundle endpoint of b.example is not an https URL",
		"b.example=https://user:hidden@b/":                "bundle endpoint of b.example is not an https URL",
		"b.example=https://b/?token=hidden\x7f":           "bundle endpoint of b.example is not an https URL",
		"b.example=https://b/ spiffe://b.example/x\t/b b": "b.example has 4 parts",
	} {
		_, err := resolve(Config{Service: "a"}, env("WEFT_FEDERATION", list))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "WEFT_FEDERATION") || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%q: %v, want %q", list, err, want)
		}
	}
}

// An endpoint that proves a SPIFFE ID is verified with the bundle in the file, PEM or
// JSON; a file that is no bundle fails Join.
func TestFederationByEnvironment(t *testing.T) {
	t.Parallel()
	a, b := testpki.New(t, "a.example"), testpki.New(t, "b.example")
	server := member(t, Config{Service: "bundles", Catalog: static.New(static.Config{}), Identity: testpki.NewSource(b.SVID(t, "spiffe://b.example/bundles"), b.Bundle())})
	url, _ := bundles(t, server)
	pem, err := b.Bundle().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	json, err := spiffebundle.FromX509Bundle(b.Bundle()).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, tt := range map[string]struct {
		content []byte
		err     string // of Join; empty: none
	}{
		"pem":   {pem, ""},
		"json":  {json, ""},
		"empty": {[]byte(`{"keys":[]}`), "no certificate"},
		"junk":  {[]byte("junk"), "WEFT_FEDERATION"},
		"none":  {nil, "no such file"},
	} {
		file := filepath.Join(dir, name)
		if tt.content != nil {
			if err := os.WriteFile(file, tt.content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		list, err := parseFederation("b.example=" + url + " spiffe://b.example/bundles " + file)
		if err != nil {
			t.Fatal(err)
		}
		cfg := Config{Service: "pay", Catalog: static.New(static.Config{}), Identity: testpki.NewSource(a.SVID(t, "spiffe://a.example/pay"), a.Bundle()), Federation: list}
		if tt.err != "" {
			if _, err := Join(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), tt.err) || !strings.Contains(err.Error(), file) {
				t.Errorf("%s: %v, want %q", name, err, tt.err)
			}
			continue
		}
		m := member(t, cfg)
		if err := m.federated[0].WaitAsked(bound(t)); err != nil {
			t.Fatal(err)
		}
		if st := m.Federation()[0]; st.X509 != 1 || st.Updated.IsZero() {
			t.Errorf("%s: %+v", name, st)
		}
	}
}

func FuzzParseFederation(f *testing.F) {
	f.Add("b.example=https://b/ spiffe://b.example/x /b.pem,c.example=https://c/")
	f.Add("=,= ,a=b c d")
	f.Fuzz(func(t *testing.T, s string) {
		list, err := parseFederation(s)
		if err != nil && list != nil {
			t.Errorf("%q: both %v and %v", s, list, err)
		}
		for _, c := range list {
			if c.TrustDomain == "" || c.URL == "" || (c.EndpointID == "") != (c.Bootstrap == nil) {
				t.Errorf("%q: %+v", s, c)
			}
		}
	})
}
