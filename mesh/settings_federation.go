package mesh

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/security/bundleendpoint"
)

const federationForm = "want TRUSTDOMAIN=URL, or TRUSTDOMAIN=URL ENDPOINTID BUNDLEFILE, separated by commas"

func (r *resolved) resolveFederation() {
	s, o := r.settings, FromStruct
	if len(r.Federation) == 0 {
		o = FromDefault
		if list := s.getenv("WEFT_FEDERATION"); list != "" {
			var err error
			if r.Federation, err = parseFederation(list); err != nil {
				s.errs = append(s.errs, err)
			}
			o = FromEnvironment
		}
	}
	shown := make([]string, len(r.Federation))
	for i, f := range r.Federation {
		shown[i] = f.TrustDomain + "=" + redactAddr(f.URL)
		if f.EndpointID != "" {
			shown[i] += " " + f.EndpointID
		}
	}
	s.add("Federation", "WEFT_FEDERATION", strings.Join(shown, ","), o)
}

// parseFederation reads WEFT_FEDERATION: TRUSTDOMAIN=URL (profile https_web), or
// TRUSTDOMAIN=URL ENDPOINTID BUNDLEFILE (profile https_spiffe), separated by commas.
// What it quotes holds no URL, which may hold a secret.
func parseFederation(list string) (out []bundleendpoint.Config, err error) {
	for i, item := range strings.Split(list, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		name, rest, _ := strings.Cut(item, "=")
		name = strings.TrimSpace(name)
		td, err := spiffeid.TrustDomainFromString(name)
		if err != nil || td.Name() != name {
			return nil, fmt.Errorf("mesh: WEFT_FEDERATION: what is before = in entry %d is not the name of a trust domain such as partner.example; %s", i+1, federationForm)
		}
		c := bundleendpoint.Config{TrustDomain: name}
		switch f := strings.Fields(rest); len(f) {
		case 1:
			c.URL = f[0]
		case 3:
			c.URL, c.EndpointID = f[0], f[1]
			id, err := spiffeid.FromString(c.EndpointID)
			if err != nil {
				return nil, fmt.Errorf("mesh: WEFT_FEDERATION: the endpoint of %s: %.200q is not a SPIFFE ID; %s", name, c.EndpointID, federationForm)
			}
			c.Bootstrap = bundleFile{id.TrustDomain(), f[2]}
		default:
			return nil, fmt.Errorf("mesh: WEFT_FEDERATION: %s has %d parts after =; %s", name, len(f), federationForm)
		}
		if u, err := url.Parse(c.URL); err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
			return nil, fmt.Errorf("mesh: WEFT_FEDERATION: the bundle endpoint of %s is not an https URL with a host and without user info; %s", name, federationForm)
		}
		out = append(out, c)
	}
	return out, nil
}

// bundleFile is the bundle of a trust domain in a file: PEM, or a SPIFFE bundle (JSON).
// It is read at each use, so that it can be replaced.
type bundleFile struct {
	td   spiffeid.TrustDomain
	path string
}

// GetX509BundleForTrustDomain implements x509bundle.Source.
func (b bundleFile) GetX509BundleForTrustDomain(td spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	if td != b.td {
		return nil, fmt.Errorf("mesh: %s is the bundle of %s, not of %s", b.path, b.td, td)
	}
	raw, err := os.ReadFile(b.path)
	if err != nil {
		return nil, fmt.Errorf("mesh: the bundle of %s: %w", td, err)
	}
	parse := x509bundle.Parse
	if bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) {
		parse = func(td spiffeid.TrustDomain, raw []byte) (*x509bundle.Bundle, error) {
			all, err := spiffebundle.Parse(td, raw)
			if err != nil {
				return nil, err
			}
			return all.X509Bundle(), nil
		}
	}
	bundle, err := parse(td, raw)
	if err == nil && bundle.Empty() {
		err = errors.New("it has no certificate")
	}
	if err != nil {
		return nil, fmt.Errorf("mesh: the bundle of %s in %s: %w", td, b.path, err)
	}
	return bundle, nil
}
