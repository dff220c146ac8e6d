package authz

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"time"
)

// KindProvider is the kind of config entries that hold a [Provider].
const KindProvider = "jwt-provider"

// Provider says who issues tokens and how they are checked: Consul's jwt-provider
// config entry. Tokens are signed with RSA, ECDSA or Ed25519, live for a time that
// they say, and are at most 8 KiB long.
type Provider struct {
	// Name is what rules call it. Required.
	Name string
	// Issuer is the exact "iss" of its tokens. Required.
	Issuer string
	// Audiences are those of which a token must name one. Empty: any.
	Audiences []string
	// Keys is a JSON Web Key Set, and KeysURI where to fetch it: https, or http of
	// a loopback address. Exactly one is set.
	Keys    []byte
	KeysURI string
	// CacheFor is how long fetched keys are used before they are fetched again,
	// FetchTimeout how long one fetch may take. 0: 5 min, and 2 s.
	CacheFor     time.Duration
	FetchTimeout time.Duration
	// Locations are where in a request a token may be. Empty: the header
	// Authorization, behind "Bearer ", and the query parameter access_token.
	Locations []TokenLocation
	// ClockSkew is how far clocks may be apart. 0: 30 s.
	ClockSkew time.Duration
	// Unreadable says why the provider cannot be honoured: rules that name it then
	// deny. Empty: it can be.
	Unreadable string
}

// TokenLocation is where a token may be. Exactly one of Header, Query and Cookie is set.
type TokenLocation struct {
	// Header, Query and Cookie are the name of a header, a parameter, a cookie.
	Header, Query, Cookie string
	// Prefix is what stands before the token in the header; empty: nothing.
	Prefix string
}

type wireProvider struct {
	Kind, Name, Namespace, Partition string
	Issuer                           string
	Audiences                        []string
	ClockSkewSeconds                 int
	JSONWebKeySet                    *struct {
		Local *struct {
			JWKS, Filename string
		}
		Remote *struct {
			URI                 string
			RequestTimeoutMs    int
			CacheDuration       wireDuration
			FetchAsynchronously bool
			UseSNI              bool
			RetryPolicy         json.RawMessage
			JWKSCluster         json.RawMessage
		}
	}
	Locations []struct {
		Header *struct {
			Name, ValuePrefix string
			Forward           bool
		}
		QueryParam, Cookie *struct{ Name string }
	}
	Forwarding                     json.RawMessage
	CacheConfig                    json.RawMessage
	Meta                           map[string]string
	Hash, CreateIndex, ModifyIndex uint64
}

// wireDuration is nanoseconds or text such as "5m".
type wireDuration time.Duration

func (d *wireDuration) UnmarshalJSON(b []byte) error {
	text := string(bytes.Trim(b, `"`))
	if text == "" || text == "null" {
		return nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		*d = wireDuration(n)
		return nil
	}
	v, err := time.ParseDuration(text)
	*d = wireDuration(v)
	return err
}

// DecodeProvider reads the JSON of a jwt-provider config entry. What cannot be read
// in it makes the provider one that denies; it fails if not even the name can be.
// How to retry fetches, the cluster to fetch by, and the forwarding of tokens are
// matters of a proxy and mean nothing here.
func DecodeProvider(data []byte) (Provider, error) {
	if len(data) > maxRules {
		return Provider{}, fmt.Errorf("authz: the provider has %d bytes, the limit is %d", len(data), maxRules)
	}
	var w wireProvider
	bad := strict(data, &w)
	if bad != nil {
		w = wireProvider{}
		var name struct{ Kind, Name string }
		if err := json.Unmarshal(data, &name); err != nil {
			return Provider{}, fmt.Errorf("authz: the provider cannot be read: %s", clip(err.Error()))
		}
		w.Kind, w.Name = name.Kind, name.Name
	}
	if w.Name == "" || w.Kind != "" && w.Kind != KindProvider {
		return Provider{}, fmt.Errorf("authz: config entry of kind %q and name %q is no provider", clip(w.Kind), clip(w.Name))
	}
	p := Provider{Name: w.Name, Issuer: w.Issuer, Audiences: w.Audiences, ClockSkew: time.Duration(w.ClockSkewSeconds) * time.Second}
	if bad == nil {
		bad = p.take(&w)
	}
	if bad != nil {
		p.Unreadable = clip(bad.Error())
	}
	return p, nil
}

func (p *Provider) take(w *wireProvider) error {
	if set := w.JSONWebKeySet; set != nil {
		if l := set.Local; l != nil {
			switch {
			case l.JWKS != "" && l.Filename != "":
				return errors.New("keys both inline and in a file")
			case l.Filename != "":
				var err error
				if p.Keys, err = readBounded(l.Filename, maxKeys); err != nil {
					return err
				}
			default:
				var err error
				if p.Keys, err = base64.StdEncoding.DecodeString(l.JWKS); err != nil {
					return errors.New("the inline keys are not base64")
				}
			}
		}
		if r := set.Remote; r != nil {
			p.KeysURI, p.CacheFor = r.URI, time.Duration(r.CacheDuration)
			p.FetchTimeout = time.Duration(r.RequestTimeoutMs) * time.Millisecond
		}
	}
	for _, l := range w.Locations {
		loc, n := TokenLocation{}, 0
		if l.Header != nil {
			loc.Header, loc.Prefix, n = l.Header.Name, l.Header.ValuePrefix, n+1
		}
		if l.QueryParam != nil {
			loc.Query, n = l.QueryParam.Name, n+1
		}
		if l.Cookie != nil {
			loc.Cookie, n = l.Cookie.Name, n+1
		}
		if n != 1 {
			return errors.New("a location of the token is not exactly one of header, query parameter, cookie")
		}
		p.Locations = append(p.Locations, loc)
	}
	return nil
}

// check reports why tokens of the provider cannot be verified.
func (p *Provider) check() error {
	switch {
	case p.Unreadable != "":
		return errors.New(p.Unreadable)
	case p.Issuer == "":
		return errors.New("it has no issuer")
	case (len(p.Keys) > 0) == (p.KeysURI != ""):
		return errors.New("want either keys or where to fetch them")
	case p.ClockSkew < 0 || p.ClockSkew > 10*time.Minute:
		return fmt.Errorf("clock skew of %v, want 0 to 10m", p.ClockSkew)
	case p.CacheFor < 0 || p.FetchTimeout < 0:
		return errors.New("a negative duration")
	}
	for _, l := range p.Locations {
		n := 0
		for _, s := range []string{l.Header, l.Query, l.Cookie} {
			if s != "" {
				n++
			}
		}
		if n != 1 {
			return errors.New("a location of the token is not exactly one of header, query parameter, cookie")
		}
	}
	if p.KeysURI != "" {
		return checkKeysURI(p.KeysURI)
	}
	return nil
}

// checkKeysURI wants a connection that nobody can tamper with.
func checkKeysURI(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return errors.New("the address of the keys is not a URL, or holds a user")
	}
	if host := u.Hostname(); u.Scheme == "https" || u.Scheme == "http" && (host == "127.0.0.1" || host == "::1" || host == "localhost") {
		return nil
	}
	return errors.New("the address of the keys is not https")
}

// readBounded reads a whole file of at most limit bytes.
func readBounded(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", name, limit)
	}
	return data, err
}
