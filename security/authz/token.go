package authz

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	maxToken = 8 << 10
	// maxVerified is how many verified tokens are remembered until they expire.
	maxVerified = 1024
)

// tokens verifies the tokens that the rules of one policy ask for.
type tokens struct {
	providers map[string]*provider

	mu       sync.Mutex
	verified map[[sha256.Size]byte]verified
}

type verified struct {
	claims map[string]any
	until  time.Time
	by     *keySet // a change of keys ends it
}

type provider struct {
	Provider
	bad  error
	keys *keySet // inline
	ring keyRing
}

// requirement is a compiled JWTRequirement.
type requirement struct{ any []requiredProvider }

type requiredProvider struct {
	p      *provider
	claims []ClaimVerification
}

func newTokens(list []Provider, ring keyRing, problem func(error)) *tokens {
	t := &tokens{providers: map[string]*provider{}, verified: map[[sha256.Size]byte]verified{}}
	for _, p := range list {
		in := &provider{Provider: p, ring: ring}
		in.bad = p.check()
		if in.bad == nil && len(p.Keys) > 0 {
			in.keys, in.bad = parseKeys(p.Keys)
		}
		if t.providers[p.Name] != nil {
			in.bad = errors.New("there are two of this name")
		}
		if in.bad == nil && in.keys == nil && ring != nil {
			_, _ = ring.fetched(&in.Provider) // starts to fetch
		}
		if in.bad != nil {
			problem(fmt.Errorf("authz: token provider %q cannot be used, rules that name it deny: %s", clip(p.Name), clip(in.bad.Error())))
		}
		t.providers[p.Name] = in
	}
	return t
}

// require compiles a requirement. It fails if none of its providers can be used.
func (t *tokens) require(r *JWTRequirement) (*requirement, error) {
	if r == nil {
		return nil, nil
	}
	out := &requirement{}
	err := errors.New("a token is required, but of no provider")
	for _, want := range r.Providers {
		p := t.providers[want.Name]
		switch {
		case p == nil:
			err = fmt.Errorf("token provider %q is not known", clip(want.Name))
		case p.bad != nil:
			err = fmt.Errorf("token provider %q cannot be used: %w", clip(want.Name), p.bad)
		default:
			for _, c := range want.VerifyClaims {
				if len(c.Path) == 0 {
					return nil, fmt.Errorf("token provider %q: a claim without a path", clip(want.Name))
				}
			}
			out.any = append(out.any, requiredProvider{p, want.VerifyClaims})
		}
	}
	if len(out.any) == 0 {
		return nil, err
	}
	return out, nil
}

// check verifies the request's token against each provider until one is content.
func (t *tokens) check(r *requirement, req *Request) (map[string]any, error) {
	var err error
	for i := range r.any {
		want := &r.any[i]
		var claims map[string]any
		if claims, err = t.of(want.p, req); err != nil {
			continue
		}
		if err = verifyClaims(claims, want.claims); err == nil {
			return claims, nil
		}
		err = fmt.Errorf("provider %q: %w", want.p.Name, err)
	}
	return nil, err
}

// of returns the claims of the request's token of a provider.
func (t *tokens) of(p *provider, req *Request) (map[string]any, error) {
	token, err := p.find(req)
	if err != nil {
		return nil, fmt.Errorf("provider %q: %w", p.Name, err)
	}
	keys := p.keys
	if keys == nil {
		if p.ring == nil {
			return nil, fmt.Errorf("provider %q: its keys were not fetched", p.Name)
		}
		if keys, err = p.ring.fetched(&p.Provider); err != nil {
			return nil, fmt.Errorf("provider %q: its keys are not there: %w", p.Name, err)
		}
	}
	now := time.Now()
	id := sha256.Sum256([]byte(p.Name + "\x00" + token))
	t.mu.Lock()
	v, ok := t.verified[id]
	t.mu.Unlock()
	if ok && v.by == keys && now.Before(v.until) {
		return v.claims, nil
	}
	claims, until, err := p.verify(token, keys, now)
	if err != nil {
		return nil, fmt.Errorf("provider %q: %w", p.Name, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.verified) >= maxVerified {
		for old := range t.verified { // any one
			delete(t.verified, old)
			break
		}
	}
	t.verified[id] = verified{claims, until, keys}
	return claims, nil
}

// verify checks signature, issuer, audience and times. What it says of a token that
// fails holds nothing of the token.
func (p *provider) verify(token string, keys *keySet, now time.Time) (map[string]any, time.Time, error) {
	var none time.Time
	tok, err := jwt.ParseSigned(token, algorithms())
	if err != nil || len(tok.Headers) != 1 {
		return nil, none, errors.New("the token is malformed, or signed by an algorithm that is not accepted")
	}
	h := tok.Headers[0]
	err = errors.New("no key fits the token")
	claims, std := map[string]any{}, jwt.Claims{}
	for _, k := range keys.candidates(h.KeyID, h.Algorithm) {
		if err = tok.Claims(k.Key, &std, &claims); err == nil {
			break
		}
		claims, std = map[string]any{}, jwt.Claims{}
		err = errors.New("the token's signature is wrong")
	}
	skew := p.ClockSkew
	if skew == 0 {
		skew = 30 * time.Second
	}
	switch {
	case err != nil:
		return nil, none, err
	case std.Issuer != p.Issuer:
		return nil, none, errors.New("the token is of another issuer")
	case len(p.Audiences) > 0 && !slices.ContainsFunc(p.Audiences, func(a string) bool { return slices.Contains(std.Audience, a) }):
		return nil, none, errors.New("the token is for another audience")
	case std.Expiry == nil:
		return nil, none, errors.New("the token never expires")
	case !now.Before(std.Expiry.Time().Add(skew)):
		return nil, none, errors.New("the token has expired")
	case std.NotBefore != nil && now.Before(std.NotBefore.Time().Add(-skew)):
		return nil, none, errors.New("the token is not valid yet")
	case std.IssuedAt != nil && now.Before(std.IssuedAt.Time().Add(-skew)):
		return nil, none, errors.New("the token was issued in the future")
	}
	return claims, std.Expiry.Time().Add(skew), nil
}

// find takes the provider's token out of a request. Two different ones are none:
// what is verified must be what others read too.
func (p *provider) find(r *Request) (string, error) {
	found := ""
	several := false
	take := func(s string) {
		several = several || found != "" && s != found
		if s != "" {
			found = s
		}
	}
	values := func(name string) []string {
		if r.Headers == nil {
			return nil
		}
		return r.Headers.Values(textproto.CanonicalMIMEHeaderKey(name))
	}
	for _, l := range p.locations() {
		switch {
		case l.Header != "":
			for _, v := range values(l.Header) {
				if len(v) >= len(l.Prefix) && strings.EqualFold(v[:len(l.Prefix)], l.Prefix) {
					take(strings.TrimSpace(v[len(l.Prefix):]))
				}
			}
		case l.Query != "" && r.Query != "":
			q, err := url.ParseQuery(r.Query)
			if err != nil {
				return "", errors.New("the query cannot be read")
			}
			for _, v := range q[l.Query] {
				take(v)
			}
		case l.Cookie != "":
			for _, v := range values("Cookie") {
				for part := range strings.SplitSeq(v, ";") {
					if name, value, ok := strings.Cut(strings.TrimSpace(part), "="); ok && name == l.Cookie {
						take(strings.Trim(value, `"`))
					}
				}
			}
		}
	}
	switch {
	case several:
		return "", errors.New("the request has more than one token")
	case found == "":
		return "", errors.New("the request has no token")
	case len(found) > maxToken:
		return "", fmt.Errorf("the token has %d bytes, the limit is %d", len(found), maxToken)
	case strings.Count(found, ".") != 2:
		return "", errors.New("the token is malformed")
	}
	return found, nil
}

func (p *provider) locations() []TokenLocation {
	if len(p.Locations) > 0 {
		return p.Locations
	}
	return []TokenLocation{{Header: "Authorization", Prefix: "Bearer "}, {Query: "access_token"}}
}

func verifyClaims(claims map[string]any, want []ClaimVerification) error {
	for _, w := range want {
		if !hasClaim(claims, w.Path, w.Value) {
			return fmt.Errorf("the token's claim %q is not what it must be", clip(strings.Join(w.Path, ".")))
		}
	}
	return nil
}

func hasClaim(v any, path []string, want string) bool {
	for _, key := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return false
		}
		if v, ok = m[key]; !ok {
			return false
		}
	}
	switch v := v.(type) {
	case string:
		return v == want
	case []any:
		return slices.ContainsFunc(v, func(e any) bool { s, ok := e.(string); return ok && s == want })
	}
	return false
}
