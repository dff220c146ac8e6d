package authz

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// canary must never be seen in a log or an error.
const canary = "c4naryC4nary"

// issuer signs tokens.
type issuer struct {
	name string
	kid  string
	key  *ecdsa.PrivateKey
}

func newIssuer(t testing.TB, name string) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{name, "kid-" + name, key}
}

func (i *issuer) jwks(t testing.TB) []byte {
	t.Helper()
	data, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &i.key.PublicKey, KeyID: i.kid, Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (i *issuer) provider(t testing.TB) Provider {
	return Provider{Name: i.name, Issuer: "https://" + i.name, Audiences: []string{"api"}, Keys: i.jwks(t)}
}

// claims are those of a good token.
func (i *issuer) claims(change ...func(map[string]any)) map[string]any {
	c := map[string]any{
		"iss": "https://" + i.name, "aud": "api", "sub": canary, "exp": time.Now().Add(time.Hour).Unix(),
		"role": "agent", "perms": map[string]any{"scopes": []string{"read", "write"}},
	}
	for _, f := range change {
		f(c)
	}
	return c
}

func sign(t testing.TB, alg jose.SignatureAlgorithm, key any, kid string, claims map[string]any) string {
	t.Helper()
	options := &jose.SignerOptions{}
	if kid != "" {
		options = options.WithHeader("kid", kid)
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := s.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	out, err := sig.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (i *issuer) token(t testing.TB, change ...func(map[string]any)) string {
	return sign(t, jose.ES256, i.key, i.kid, i.claims(change...))
}

func requires(name string, claims ...ClaimVerification) *JWTRequirement {
	return &JWTRequirement{Providers: []JWTProviderRequirement{{Name: name, VerifyClaims: claims}}}
}

func set(key string, v any) func(map[string]any) { return func(c map[string]any) { c[key] = v } }
func drop(key string) func(map[string]any)       { return func(c map[string]any) { delete(c, key) } }

func TestTokens(t *testing.T) {
	t.Parallel()
	okta, other := newIssuer(t, "okta"), newIssuer(t, "other")
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	in := l4("web", Allow)
	in.JWT = requires("okta", ClaimVerification{[]string{"role"}, "agent"}, ClaimVerification{[]string{"perms", "scopes"}, "write"})
	var log logged
	a := start(t, Config{Scope: scope(), Logger: log.logger(), LogRate: 1e6, Sources: []Source{Static{
		Intentions: []Intention{in}, Providers: []Provider{okta.provider(t), other.provider(t)}, Default: Allow}}})
	if len(a.Problems()) > 0 {
		t.Fatal(a.Problems())
	}
	good := okta.token(t)
	part := strings.Split(good, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + part[1] + "."
	bearer := func(s string) []string { return []string{"Authorization", "Bearer " + s} }
	for name, tc := range map[string]struct {
		headers []string
		query   string
		ok      bool
	}{
		"good":                  {bearer(good), "", true},
		"good again":            {bearer(good), "", true},
		"scheme's case":         {[]string{"Authorization", "bearer " + good}, "", true},
		"in the query":          {nil, "access_token=" + good, true},
		"same twice":            {bearer(good), "access_token=" + good, true},
		"none":                  {nil, "", false},
		"empty":                 {bearer(""), "", false},
		"another scheme":        {[]string{"Authorization", "Basic " + good}, "", false},
		"two":                   {append(bearer(good), bearer(okta.token(t, set("jti", "2")))...), "", false},
		"two places":            {bearer(good), "access_token=" + okta.token(t, set("jti", "2")), false},
		"of another provider":   {bearer(other.token(t)), "", false},
		"other's key":           {bearer(sign(t, jose.ES256, other.key, okta.kid, okta.claims())), "", false},
		"other's kid":           {bearer(sign(t, jose.ES256, okta.key, other.kid, okta.claims())), "", false},
		"other's issuer":        {bearer(okta.token(t, set("iss", "https://other"))), "", false},
		"no issuer":             {bearer(okta.token(t, drop("iss"))), "", false},
		"no kid":                {bearer(sign(t, jose.ES256, okta.key, "", okta.claims())), "", true},
		"audience":              {bearer(okta.token(t, set("aud", "db"))), "", false},
		"no audience":           {bearer(okta.token(t, drop("aud"))), "", false},
		"one audience of two":   {bearer(okta.token(t, set("aud", []string{"db", "api"}))), "", true},
		"no expiry":             {bearer(okta.token(t, drop("exp"))), "", false},
		"expired":               {bearer(okta.token(t, set("exp", time.Now().Add(-time.Minute).Unix()))), "", false},
		"expired, within skew":  {bearer(okta.token(t, set("exp", time.Now().Add(-5*time.Second).Unix()))), "", true},
		"not yet":               {bearer(okta.token(t, set("nbf", time.Now().Add(time.Minute).Unix()))), "", false},
		"issued in the future":  {bearer(okta.token(t, set("iat", time.Now().Add(time.Minute).Unix()))), "", false},
		"claim":                 {bearer(okta.token(t, set("role", "user"))), "", false},
		"claim is a number":     {bearer(okta.token(t, set("role", 1))), "", false},
		"claim is an object":    {bearer(okta.token(t, set("role", map[string]any{"agent": "agent"}))), "", false},
		"claim in no list":      {bearer(okta.token(t, set("perms", map[string]any{"scopes": []string{"read"}}))), "", false},
		"alg none":              {bearer(none), "", false},
		"alg none, signed":      {bearer(none + part[2]), "", false},
		"shared secret":         {bearer(sign(t, jose.HS256, okta.jwks(t), okta.kid, okta.claims())), "", false},
		"another kind of key":   {bearer(sign(t, jose.RS256, weak, okta.kid, okta.claims())), "", false},
		"changed":               {bearer(part[0] + "." + part[1] + "A." + part[2]), "", false},
		"no signature":          {bearer(part[0] + "." + part[1] + "."), "", false},
		"four parts":            {bearer(good + ".x"), "", false},
		"JSON form, two sigs":   {bearer(`{"payload":"` + part[1] + `","signatures":[{"protected":"` + part[0] + `","signature":"` + part[2] + `"}]}`), "", false},
		"over 8 KiB":            {bearer(okta.token(t, set("pad", strings.Repeat("x", 8<<10)))), "", false},
		"query that is no list": {nil, "access_token=%zz", false},
	} {
		r := get(svc(t, "web"), "/x", tc.headers...)
		r.Query = tc.query
		d := a.Admit(t.Context(), r)
		if d.Allowed != tc.ok || !tc.ok && !errors.Is(d.Err, ErrUnauthenticated) {
			t.Errorf("%s: %+v", name, d)
		}
		if tc.ok && d.Claims["sub"] != canary {
			t.Errorf("%s: claims %v", name, d.Claims)
		}
	}
	for _, secret := range []string{canary, part[0], part[1], part[2], base64.RawURLEncoding.EncodeToString([]byte(canary))} {
		if strings.Contains(log.String(), secret) {
			t.Error("the log shows a part of a token")
		}
	}
	if !strings.Contains(log.String(), "authz.denied") {
		t.Error("the log is empty: the test sees nothing")
	}
}

// A token that an intention or a permission asks for is asked for whatever the
// action and the default are; a deny permission holds without one.
func TestTokenRequirementsDoNotFailOpen(t *testing.T) {
	t.Parallel()
	okta := newIssuer(t, "okta")
	providers := []Provider{okta.provider(t)}
	entry := func(in Intention) Intention { in.JWT = requires("okta"); return in }
	perm := func(p Permission) Permission { p.JWT = requires("okta"); return p }
	with := get(svc(t, "web"), "/v1", "Authorization", "Bearer "+okta.token(t))
	without := get(svc(t, "web"), "/v1")
	for _, def := range []Action{Allow, Deny} {
		for name, tc := range map[string]struct {
			in            Intention
			with, without bool
		}{
			"allow":                  {entry(l4("web", Allow)), true, false},
			"deny":                   {entry(l4("web", Deny)), false, false},
			"L7, permission allows":  {entry(l7("web", prefix(Allow, "/v1"))), true, false},
			"permission's own":       {l7("web", perm(prefix(Allow, "/v1"))), true, false},
			"another one would do":   {l7("web", perm(prefix(Allow, "/v1")), prefix(Allow, "/")), true, false},
			"deny permission":        {l7("web", perm(prefix(Deny, "/v1"))), false, false},
			"none of its permission": {entry(l7("web", prefix(Deny, "/other"))), def == Allow, false},
		} {
			p := Compile(Rules{Intentions: []Intention{tc.in, l4("*", Allow)}, Providers: providers, Default: def}, scope())
			if d := p.Decide(with); d.Allowed != tc.with {
				t.Errorf("default %s, %s, with a token: %v by %q (%s)", def, name, d.Allowed, d.Rule, d.reason)
			}
			if d := p.Decide(without); d.Allowed != tc.without {
				t.Errorf("default %s, %s, without: %v by %q (%s)", def, name, d.Allowed, d.Rule, d.reason)
			}
		}
	}
}

func TestBadProvidersDeny(t *testing.T) {
	t.Parallel()
	okta := newIssuer(t, "okta")
	r := get(svc(t, "web"), "/", "Authorization", "Bearer "+okta.token(t))
	for name, change := range map[string]func(*Provider){
		"unreadable":     func(p *Provider) { p.Unreadable = "x" },
		"no issuer":      func(p *Provider) { p.Issuer = "" },
		"no keys":        func(p *Provider) { p.Keys = nil },
		"keys and URI":   func(p *Provider) { p.KeysURI = "https://x" },
		"no key set":     func(p *Provider) { p.Keys = []byte("x") },
		"symmetric key":  func(p *Provider) { p.Keys = []byte(`{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`) },
		"plain http":     func(p *Provider) { p.Keys, p.KeysURI = nil, "http://keys.example/" },
		"user in URI":    func(p *Provider) { p.Keys, p.KeysURI = nil, "https://a:b@keys.example/" },
		"file":           func(p *Provider) { p.Keys, p.KeysURI = nil, "file:///etc/passwd" },
		"skew":           func(p *Provider) { p.ClockSkew = time.Hour },
		"two locations":  func(p *Provider) { p.Locations = []TokenLocation{{Header: "a", Query: "b"}} },
		"huge key set":   func(p *Provider) { p.Keys = append(p.Keys, make([]byte, maxKeys)...) },
		"keys to be got": func(p *Provider) { p.Keys, p.KeysURI = nil, "https://127.0.0.1:1/" }, // nobody fetches for a Policy alone
	} {
		p := okta.provider(t)
		change(&p)
		in := l4("web", Allow)
		in.JWT = requires("okta")
		pol := Compile(Rules{Intentions: []Intention{in, l4("*", Allow)}, Providers: []Provider{p}, Default: Allow}, scope())
		if d := pol.Decide(r); d.Allowed {
			t.Errorf("%s: allowed", name)
		}
	}
}

func TestTokenLocations(t *testing.T) {
	t.Parallel()
	okta := newIssuer(t, "okta")
	p := okta.provider(t)
	p.Locations = []TokenLocation{{Header: "x-token", Prefix: "T "}, {Cookie: "sid"}, {Query: "t"}}
	in := l4("web", Allow)
	in.JWT = requires("okta")
	pol := Compile(Rules{Intentions: []Intention{in}, Providers: []Provider{p}}, scope())
	tok := okta.token(t)
	for name, tc := range map[string]struct {
		r  *Request
		ok bool
	}{
		"header":         {get(svc(t, "web"), "/", "X-Token", "T "+tok), true},
		"cookie":         {get(svc(t, "web"), "/", "Cookie", "a=b; sid="+tok), true},
		"another cookie": {get(svc(t, "web"), "/", "Cookie", "a=b; xsid="+tok), false},
		"usual place":    {get(svc(t, "web"), "/", "Authorization", "Bearer "+tok), false},
	} {
		if d := pol.Decide(tc.r); d.Allowed != tc.ok {
			t.Errorf("%s: %v (%s)", name, d.Allowed, d.reason)
		}
	}
}

// Keys that are fetched: bounded, no redirect, kept while newer ones cannot be had.
func TestFetchedKeys(t *testing.T) {
	t.Parallel()
	okta := newIssuer(t, "okta")
	var mode atomic.Value
	mode.Store("good")
	stolen := newIssuer(t, "okta")
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(stolen.jwks(t)) }))
	defer thief.Close()
	asked := make(chan string, 100)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := mode.Load().(string)
		switch m {
		case "good":
			_, _ = w.Write(okta.jwks(t))
		case "redirect":
			http.Redirect(w, r, thief.URL, http.StatusFound)
		case "huge":
			_, _ = w.Write(make([]byte, 2*maxKeys))
		}
		asked <- m
	}))
	defer srv.Close()
	p := Provider{Name: "okta", Issuer: "https://okta", KeysURI: srv.URL, CacheFor: time.Second}
	in := l4("web", Allow)
	in.JWT = requires("okta")
	src := newChanging()
	a := start(t, Config{Scope: scope(), Sources: []Source{src}})
	src.next <- Rules{Intentions: []Intention{in}, Providers: []Provider{p}}
	good := get(svc(t, "web"), "/", "Authorization", "Bearer "+okta.token(t))
	bad := get(svc(t, "web"), "/", "Authorization", "Bearer "+stolen.token(t))
	for {
		changed := a.Changed()
		if a.Decide(good).Allowed {
			break
		}
		<-changed
	}
	for _, m := range []string{"redirect", "huge", "redirect"} {
		mode.Store(m)
		for <-asked != m {
		}
		if d := a.Decide(good); !d.Allowed {
			t.Errorf("%s: the keys that were there are gone: %s", m, d.reason)
		}
		if a.Decide(bad).Allowed {
			t.Errorf("%s: keys of somewhere else are used", m)
		}
	}
	src.next <- Rules{Default: Deny} // ends the fetching
	src.next <- Rules{Default: Deny}
	a.keys.mu.Lock()
	defer a.keys.mu.Unlock()
	if len(a.keys.set) != 0 {
		t.Error("keys that no rule asks for are still fetched")
	}
}

func TestDecodeProvider(t *testing.T) {
	t.Parallel()
	okta := newIssuer(t, "okta")
	good := map[string]any{
		"Kind": "jwt-provider", "Name": "okta", "Issuer": "https://okta", "Audiences": []string{"api"}, "ClockSkewSeconds": 30,
		"JSONWebKeySet": map[string]any{"Local": map[string]any{"JWKS": base64.StdEncoding.EncodeToString(okta.jwks(t))}},
		"Locations":     []any{map[string]any{"Header": map[string]any{"Name": "Authorization", "ValuePrefix": "Bearer "}}},
		"Forwarding":    map[string]any{"HeaderName": "x"}, "CreateIndex": 1, "ModifyIndex": 2, "Hash": uint64(3305230808645129462),
	}
	for name, tc := range map[string]struct {
		change func(map[string]any)
		ok     bool
	}{
		"good":            {func(map[string]any) {}, true},
		"unknown field":   {set("MaxAge", 3), false},
		"two places":      {set("Locations", []any{map[string]any{"Header": map[string]any{"Name": "a"}, "Cookie": map[string]any{"Name": "b"}}}), false},
		"no base64":       {set("JSONWebKeySet", map[string]any{"Local": map[string]any{"JWKS": "%"}}), false},
		"no file":         {set("JSONWebKeySet", map[string]any{"Local": map[string]any{"Filename": "/nowhere/keys"}}), false},
		"duration as int": {set("JSONWebKeySet", map[string]any{"Remote": map[string]any{"URI": "https://x", "CacheDuration": 300000000000}}), true},
	} {
		doc := maps.Clone(good)
		tc.change(doc)
		data, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		p, err := DecodeProvider(data)
		if err != nil || (p.check() == nil) != tc.ok {
			t.Errorf("%s: %+v, %v, %v", name, p, err, p.check())
		}
	}
	if _, err := DecodeProvider([]byte(`{"Kind":"jwt-provider"}`)); err == nil {
		t.Error("a provider without a name")
	}
}

// FuzzToken: no token without our signature is accepted, and nothing panics.
func FuzzToken(f *testing.F) {
	okta := newIssuer(f, "okta")
	p := okta.provider(f)
	in := l4("web", Allow)
	in.JWT = requires("okta")
	pol := Compile(Rules{Intentions: []Intention{in}, Providers: []Provider{p}}, scope())
	good := okta.token(f)
	for _, s := range []string{good, "a.b.c", "..", good + "=", `{"payload":""}`, "eyJhbGciOiJub25lIn0.e30."} {
		f.Add(s)
	}
	caller := svc(f, "web")
	f.Fuzz(func(t *testing.T, s string) {
		d := pol.Decide(get(caller, "/", "Authorization", "Bearer "+s))
		if d.Allowed && strings.TrimSpace(s) != good {
			t.Fatalf("accepted %q", s)
		}
		if len(s) > 20 && strings.Contains(d.reason, s) {
			t.Fatalf("the reason %q shows the token", d.reason)
		}
	})
}
