package bundleendpoint

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// The defaults of Config.
const (
	// DefaultRefresh is how often a bundle is fetched that does not say, as the standard has it.
	DefaultRefresh    = 5 * time.Minute
	DefaultMinRefresh = 10 * time.Second
	DefaultMaxRefresh = time.Hour
	DefaultTimeout    = 10 * time.Second
	DefaultMaxBytes   = 1 << 20
)

// Config says where the bundle of one trust domain is. TrustDomain and URL are required,
// and must come from somebody trusted: the bundle itself does not name its domain.
type Config struct {
	// TrustDomain is whose bundle it is. Empty is refused.
	TrustDomain string
	// URL is the endpoint, https without user info. Empty is refused.
	URL string
	// EndpointID is the SPIFFE ID that the endpoint proves (profile https_spiffe). Empty:
	// it has a certificate for the URL's host (profile https_web).
	EndpointID string
	// Bootstrap has the bundle that an EndpointID is verified with; an *x509bundle.Bundle
	// is one. If EndpointID is of TrustDomain it is asked only until a bundle was
	// fetched, which then counts alone; else at each fetch. It makes no peer trusted. nil
	// is refused with EndpointID, and needed without.
	Bootstrap x509bundle.Source
	// Roots verify an endpoint without EndpointID. nil: the system's.
	Roots *x509.CertPool
	// MinRefresh and MaxRefresh bound how often the bundle is fetched, whatever it asks
	// for. 0: 10 s and 1 h.
	MinRefresh, MaxRefresh time.Duration
	// Timeout bounds one fetch. 0: 10 s.
	Timeout time.Duration
	// MaxBytes bounds the answer. 0: 1 MiB.
	MaxBytes int64
	// CacheDir keeps the last bundle in a file, for a start while the endpoint is away. It
	// is not used when it is over three days old. Empty keeps nothing.
	CacheDir string
	// Logger gets the events. nil discards them.
	Logger *slog.Logger
}

// check fills the defaults in, and gives the trust domain and the ID of the endpoint.
func (c *Config) check() (td spiffeid.TrustDomain, id spiffeid.ID, err error) {
	if td, err = spiffeid.TrustDomainFromString(c.TrustDomain); err != nil || td.Name() != c.TrustDomain {
		return td, id, fmt.Errorf("bundleendpoint: Config.TrustDomain %.200q is not the name of a trust domain such as partner.example", c.TrustDomain)
	}
	u, err := url.Parse(c.URL)
	if err != nil || !usable(u) {
		// Not quoted: it may hold a password.
		return td, id, fmt.Errorf("bundleendpoint: Config.URL of trust domain %s is not an https URL with a host and without user info", td.Name())
	}
	if c.EndpointID == "" {
		if c.Bootstrap != nil {
			return td, id, errors.New("bundleendpoint: Config.Bootstrap is set and Config.EndpointID is not; without one the endpoint is verified by its host's certificate, see Roots")
		}
	} else {
		if id, err = spiffeid.FromString(c.EndpointID); err != nil || id.Path() == "" {
			return td, id, fmt.Errorf("bundleendpoint: Config.EndpointID %.200q is not the SPIFFE ID of an endpoint", c.EndpointID)
		}
		if c.Bootstrap == nil {
			return td, id, fmt.Errorf("bundleendpoint: Config.EndpointID needs Config.Bootstrap, the bundle of %s to verify it with", id.TrustDomain().Name())
		}
		if c.Roots != nil {
			return td, id, errors.New("bundleendpoint: Config.Roots is for endpoints without EndpointID; with one Bootstrap counts")
		}
	}
	for _, f := range []struct {
		name string
		v    *time.Duration
		def  time.Duration
	}{
		{"MinRefresh", &c.MinRefresh, DefaultMinRefresh}, {"MaxRefresh", &c.MaxRefresh, max(DefaultMaxRefresh, c.MinRefresh)},
		{"Timeout", &c.Timeout, DefaultTimeout},
	} {
		if *f.v < 0 {
			return td, id, fmt.Errorf("bundleendpoint: Config.%s is %v, want 0 or more", f.name, *f.v)
		}
		if *f.v == 0 {
			*f.v = f.def
		}
	}
	if c.MinRefresh > c.MaxRefresh {
		return td, id, fmt.Errorf("bundleendpoint: Config.MinRefresh %v is over MaxRefresh %v", c.MinRefresh, c.MaxRefresh)
	}
	if c.MaxBytes < 0 {
		return td, id, fmt.Errorf("bundleendpoint: Config.MaxBytes is %d, want 0 or more", c.MaxBytes)
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = DefaultMaxBytes
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return td, id, nil
}

// usable is what the standard asks of a bundle endpoint's URL.
func usable(u *url.URL) bool { return u.Scheme == "https" && u.User == nil && u.Hostname() != "" }
