package bundleendpoint

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/internal/testpki"
	"github.com/weft-mesh/weft/security"
)

// TestWeb: the bundle of an endpoint with a web certificate becomes a further one of
// a Source, follows what the endpoint publishes, and ends when that is nobody.
func TestWeb(t *testing.T) {
	t.Parallel()
	ca, own := testpki.New(t, domain), testpki.New(t, "own.example")
	e, log := serve(t, nil), &events{}
	e.doc(t, bundle(ca, 7))
	cfg := e.web()
	cfg.Logger = log.logger()
	s := follow(t, cfg)
	f, err := security.Federate(testpki.NewSource(own.SVID(t, "spiffe://own.example/web"), own.Bundle()), s)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if b, err := f.GetX509BundleForTrustDomain(ca.TrustDomain); err != nil || !b.Equal(ca.Bundle()) {
		t.Fatalf("the federated bundle is %v, %v", b, err)
	}
	if b, err := f.GetX509BundleForTrustDomain(own.TrustDomain); err != nil || !b.Equal(own.Bundle()) {
		t.Errorf("our own bundle is %v, %v: bundles were merged", b, err)
	}
	if _, err := s.GetX509BundleForTrustDomain(own.TrustDomain); !errors.Is(err, ErrNoBundle) {
		t.Errorf("the bundle of another domain: %v", err)
	}
	if st := s.Status(); st.X509 != 1 || st.Sequence != 7 || st.Fetched.IsZero() || st.Err != nil || st.Next.IsZero() {
		t.Errorf("Status = %+v", st)
	}

	next := testpki.New(t, domain)
	e.doc(t, bundle(next, 8))
	until(t, s, "the new bundle", func(st Status) bool { return st.Sequence == 8 })
	if b := s.Bundle(); !b.Equal(next.Bundle()) {
		t.Errorf("Bundle = %v, want the new authority alone", b)
	}
	e.doc(t, bundle(ca, 7))
	st := until(t, s, "a refusal", func(st Status) bool { return st.Err != nil })
	if !errors.Is(st.Err, ErrSequence) || !s.Bundle().Equal(next.Bundle()) {
		t.Errorf("after the sequence went back: %v, %v", st.Err, s.Bundle())
	}

	e.set(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"keys":[],"spiffe_sequence":9}`) })
	until(t, s, "the empty bundle", func(st Status) bool { return st.Sequence == 9 })
	if s.Bundle() != nil {
		t.Error("an emptied bundle is still one")
	}
	if _, err := f.GetX509BundleForTrustDomain(ca.TrustDomain); err == nil {
		t.Error("somebody is trusted by an empty bundle")
	}
	if log.count("bundle.updated") != 2 || log.count("bundle.lost") != 1 || log.count("bundle.connected") != 1 || log.count("bundle.emptied") != 1 {
		t.Errorf("events:\n%s", log)
	}
}

// TestSPIFFE: the endpoint is verified with the bootstrap bundle once, and with what it
// published last ever after.
func TestSPIFFE(t *testing.T) {
	t.Parallel()
	one, two := testpki.New(t, domain), testpki.New(t, domain)
	src := testpki.NewSource(one.SVID(t, serverID), one.Bundle())
	e := serve(t, src)
	both := bundle(one, 1)
	both.AddX509Authority(two.Cert)
	e.doc(t, both)
	s := follow(t, Config{TrustDomain: domain, URL: e.URL, EndpointID: serverID, Bootstrap: one.Bundle()})
	until(t, s, "two authorities", func(st Status) bool { return st.X509 == 2 })
	src.SetSVID(two.SVID(t, serverID)) // which the bootstrap bundle does not know
	e.doc(t, bundle(two, 2))
	until(t, s, "the new authority", func(st Status) bool { return st.Sequence == 2 })
	src.SetSVID(one.SVID(t, serverID)) // a stolen old key
	until(t, s, "a refusal", func(st Status) bool { return st.Err != nil })
	e.doc(t, bundle(one, 3)) // not before: a connection with the new key may have been open
	for range 2 {
		next := s.Status().Next
		st := until(t, s, "another attempt", func(st Status) bool { return st.Next.After(next) })
		if !errors.Is(st.Err, security.ErrUntrusted) || !s.Bundle().Equal(two.Bundle()) {
			t.Errorf("the bootstrap bundle still counts: %v", st.Err)
		}
	}
}

// TestBootstrapTrustsNoPeer: it is for the endpoint.
func TestBootstrapTrustsNoPeer(t *testing.T) {
	t.Parallel()
	ca := testpki.New(t, domain)
	e := serve(t, testpki.NewSource(ca.SVID(t, serverID), ca.Bundle())) // answers 404
	s := follow(t, Config{TrustDomain: domain, URL: e.URL, EndpointID: serverID, Bootstrap: ca.Bundle()})
	if err := s.Status().Err; err == nil || !strings.Contains(err.Error(), "404") || s.Bundle() != nil {
		t.Errorf("err %v, bundle %v", err, s.Bundle())
	}
}

// TestSPIFFEElsewhere: an endpoint of one domain serves the bundle of another.
func TestSPIFFEElsewhere(t *testing.T) {
	t.Parallel()
	hub, ca := testpki.New(t, "hub.example"), testpki.New(t, domain)
	e := serve(t, testpki.NewSource(hub.SVID(t, "spiffe://hub.example/bundles"), hub.Bundle()))
	e.doc(t, bundle(ca, 1))
	s := follow(t, Config{TrustDomain: domain, URL: e.URL, EndpointID: "spiffe://hub.example/bundles", Bootstrap: hub.Bundle()})
	if b := s.Bundle(); b == nil || !b.Equal(ca.Bundle()) {
		t.Errorf("%v, %v", b, s.Status().Err)
	}
	if _, err := s.GetX509BundleForTrustDomain(hub.TrustDomain); err == nil {
		t.Error("the endpoint's own domain is trusted too")
	}
}

// TestWrongEndpoint: who cannot prove to be the endpoint gives nobody's bundle.
func TestWrongEndpoint(t *testing.T) {
	t.Parallel()
	ca, other := testpki.New(t, domain), testpki.New(t, domain)
	expired := func(s *testpki.Spec) { s.Template.NotAfter = time.Now().Add(-time.Second) }
	for name, tc := range map[string]struct {
		src  security.Source // nil: a web certificate
		id   string
		want error
	}{
		"another ID":             {testpki.NewSource(ca.SVID(t, "spiffe://partner.example/web"), ca.Bundle()), serverID, security.ErrUnexpectedPeer},
		"another CA":             {testpki.NewSource(other.SVID(t, serverID), other.Bundle()), serverID, security.ErrUntrusted},
		"a web certificate":      {nil, serverID, security.ErrBadSVID},
		"an SVID for https_web":  {testpki.NewSource(ca.SVID(t, serverID), ca.Bundle()), "", nil},
		"an expired SVID":        {testpki.NewSource(ca.SVID(t, serverID, expired), ca.Bundle()), serverID, nil},
		"a certificate unknown":  {nil, "", nil},
		"an SVID of two domains": {testpki.NewSource(ca.SVID(t, serverID, func(s *testpki.Spec) { s.URIs = append(s.URIs, "spiffe://b.example/x") }), ca.Bundle()), serverID, security.ErrBadSVID},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := serve(t, tc.src)
			e.doc(t, bundle(ca, 1))
			cfg := Config{TrustDomain: domain, URL: e.URL, EndpointID: tc.id}
			if tc.id != "" {
				cfg.Bootstrap = ca.Bundle()
			}
			s := follow(t, cfg)
			err := s.Status().Err
			if err == nil || s.Bundle() != nil || tc.want != nil && !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v; bundle %v", err, tc.want, s.Bundle())
			}
			if e.asked.Load() != 0 {
				t.Error("it was asked all the same")
			}
		})
	}
}

// TestBadAnswers: each one is refused and named, and the last good bundle stays.
func TestBadAnswers(t *testing.T) {
	t.Parallel()
	ca := testpki.New(t, domain)
	elsewhere := serve(t, nil)
	elsewhere.doc(t, bundle(testpki.New(t, domain), 9))
	body := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }
	}
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	many := spiffebundle.FromX509Bundle(ca.Bundle())
	for i := range maxAuthorities {
		_ = many.AddJWTAuthority(fmt.Sprint(i), ca.Cert.PublicKey)
	}
	manyDoc, err := many.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	leafDoc, err := spiffebundle.FromX509Authorities(ca.TrustDomain, ca.SVID(t, serverID).Certificates[:1]).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"no JSON":      {body("<html>\nsecret"), "parse"},
		"no keys":      {body(`{}`), "no authorities"},
		"null keys":    {body(`{"keys":null}`), "no authorities"},
		"too big":      {body(`{"keys":[],"x":"` + strings.Repeat("a", 70<<10) + `"}`), "more than"},
		"too many":     {body(string(manyDoc)), "authorities, the limit"},
		"no CA":        {body(string(leafDoc)), "no CA certificate"},
		"status":       {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, "status 500"},
		"another host": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) }, "another host"},
		"plain HTTP":   {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "http://"+r.Host, http.StatusFound) }, "another host"},
		"in circles":   {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, "redirects"},
		"slow": {func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-hang:
			case <-r.Context().Done():
			}
		}, "no answer within"},
		"negative sequence": {body(`{"keys":[],"spiffe_sequence":-1}`), "parse"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := serve(t, nil)
			e.doc(t, bundle(ca, 1))
			cfg := e.web()
			cfg.MaxBytes, cfg.Timeout = 64<<10, 5*time.Second
			if name == "slow" {
				cfg.Timeout = 250 * time.Millisecond
			}
			s := follow(t, cfg)
			until(t, s, "the first bundle", func(st Status) bool { return st.X509 == 1 })
			e.set(tc.answer)
			st := until(t, s, "a refusal", func(st Status) bool { return st.Err != nil })
			if !strings.Contains(st.Err.Error(), tc.want) || strings.Contains(st.Err.Error(), "\n") {
				t.Errorf("error %q, want one with %q", st.Err, tc.want)
			}
			if !s.Bundle().Equal(ca.Bundle()) {
				t.Error("the last good bundle is gone")
			}
		})
	}
	if n := elsewhere.asked.Load(); n != 0 {
		t.Errorf("the other host was asked %d times", n)
	}
}

// TestRedirectHere: within the host one is followed, and not remembered.
func TestRedirectHere(t *testing.T) {
	t.Parallel()
	ca := testpki.New(t, domain)
	e := serve(t, nil)
	doc, err := bundle(ca, 1).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	e.set(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bundle" {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
			return
		}
		_, _ = w.Write(doc)
	})
	s := follow(t, e.web())
	if !s.Bundle().Equal(ca.Bundle()) {
		t.Fatal(s.Status().Err)
	}
	e.set(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/bundle" {
			w.WriteHeader(http.StatusGone)
			return
		}
		_, _ = w.Write([]byte(`{"keys":[],"spiffe_sequence":2}`))
	})
	until(t, s, "the answer at the configured path", func(st Status) bool { return st.Sequence == 2 })
}

func TestConfigRefused(t *testing.T) {
	t.Parallel()
	boot := x509bundle.New(spiffeid.RequireTrustDomainFromString(domain))
	good := func() Config {
		return Config{TrustDomain: domain, URL: "https://x.example/b", EndpointID: serverID, Bootstrap: boot}
	}
	for name, change := range map[string]func(*Config){
		"TrustDomain":              func(c *Config) { c.TrustDomain = "" },
		"TrustDomain ":             func(c *Config) { c.TrustDomain = "spiffe://partner.example" },
		"URL":                      func(c *Config) { c.URL = "http://x.example/b" },
		"user info":                func(c *Config) { c.URL = "https://u:s3cret@x.example/b" },
		"with a host":              func(c *Config) { c.URL = "https:///b" },
		"EndpointID":               func(c *Config) { c.EndpointID = "spiffe://partner.example" },
		"Bootstrap":                func(c *Config) { c.Bootstrap = nil },
		"Config.EndpointID is not": func(c *Config) { c.EndpointID = "" },
		"MinRefresh":               func(c *Config) { c.MinRefresh = -1 },
		"over MaxRefresh":          func(c *Config) { c.MinRefresh, c.MaxRefresh = time.Hour, time.Minute },
		"Timeout":                  func(c *Config) { c.Timeout = -1 },
		"MaxBytes":                 func(c *Config) { c.MaxBytes = -1 },
	} {
		cfg := good()
		change(&cfg)
		_, err := Follow(cfg)
		if err == nil || !strings.Contains(err.Error(), strings.TrimSpace(name)) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
