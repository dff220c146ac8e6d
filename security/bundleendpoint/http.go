package bundleendpoint

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/weft-mesh/weft/security"
)

// maxRedirects bounds how often one fetch is sent on.
const maxRedirects = 3

// httpGet is how a bundle is fetched. Each fetch makes a connection of its own, so
// that the endpoint is verified with what is known then.
func (s *Source) httpGet() (func(context.Context) (*spiffebundle.Bundle, error), error) {
	conf, err := s.tls()
	if err != nil {
		return nil, err
	}
	client := &http.Client{
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: 64 << 10,
			TLSClientConfig:        conf,
		},
		CheckRedirect: sameHost,
	}
	return func(ctx context.Context) (*spiffebundle.Bundle, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.cfg.URL, nil)
		if err != nil {
			return nil, errors.New("the URL cannot be used")
		}
		req.Header.Set("Accept", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			return nil, plain(err)
		}
		defer func() { _ = resp.Body.Close() }() // it was only read
		if resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("the endpoint answers with status %d, want 200", resp.StatusCode)
		}
		doc, err := io.ReadAll(io.LimitReader(resp.Body, s.cfg.MaxBytes+1))
		if err != nil {
			return nil, plain(err)
		}
		if int64(len(doc)) > s.cfg.MaxBytes {
			return nil, fmt.Errorf("the endpoint's answer has more than %d bytes, see Config.MaxBytes", s.cfg.MaxBytes)
		}
		return parse(s.td, doc)
	}, nil
}

// tls verifies the endpoint by its profile.
func (s *Source) tls() (*tls.Config, error) {
	if s.id.IsZero() {
		return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.cfg.Roots}, nil
	}
	cfg, err := security.ClientTLS(endpointOnly{s}, s.id.String())
	if err != nil {
		return nil, fmt.Errorf("bundleendpoint: Config.EndpointID: %w", err)
	}
	cfg.ServerName = "" // the URL's host
	// An endpoint must not want a certificate; one that asks gets none.
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tls.Certificate{}, nil }
	return cfg, nil
}

// endpointOnly is whom a fetch trusts. We have no identity there.
type endpointOnly struct{ s *Source }

func (e endpointOnly) GetX509SVID() (*x509svid.SVID, error) {
	return nil, errors.New("a bundle is fetched without an identity")
}

func (e endpointOnly) GetX509BundleForTrustDomain(td spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	return e.s.authority(td)
}

// sameHost keeps redirects with the host that was configured: who gives the keys of a
// trust domain is said by the configuration.
func sameHost(req *http.Request, via []*http.Request) error {
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("more than %d redirects", maxRedirects)
	case !usable(req.URL) || !strings.EqualFold(req.URL.Host, via[0].URL.Host):
		return errors.New("the endpoint redirects to another host, which is not followed")
	}
	return nil
}

// plain takes the URL out of an error, which may hold a secret in its query, and
// makes what comes from outside safe to log.
func plain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return &quoted{err}
}
