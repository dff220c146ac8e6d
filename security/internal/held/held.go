// Package held keeps the newest identity for the sources of security.
package held

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/weft-mesh/weft/security"
)

// Bundles are the bundles by trust domain.
type Bundles map[spiffeid.TrustDomain]*x509bundle.Bundle

// Cell holds one identity. Its zero value holds none. Set replaces the SVID and the
// bundles at once, so that no handshake sees halves of two states.
type Cell struct {
	mu      sync.RWMutex
	svid    *x509svid.SVID
	bundles Bundles
	changed chan struct{}
	status  security.Status
}

// Set publishes a new state if it differs from the current one, and reports whether
// the SVID and the bundles did. The caller must not write to bundles afterwards.
func (c *Cell) Set(svid *x509svid.SVID, bundles Bundles) (newSVID, newBundles bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	newSVID, newBundles = !sameSVID(c.svid, svid), !sameBundles(c.bundles, bundles)
	if !newSVID && !newBundles {
		return false, false
	}
	c.svid, c.bundles = svid, bundles
	leaf := svid.Certificates[0]
	c.status = security.Status{ID: svid.ID.String(), NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter, UpdatedAt: time.Now(), Err: c.status.Err}
	for td := range bundles {
		c.status.TrustDomains = append(c.status.TrustDomains, td.Name())
	}
	slices.Sort(c.status.TrustDomains)
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
	return newSVID, newBundles
}

// Note keeps why the last update failed, nil if it did not, and reports whether
// that is news.
func (c *Cell) Note(err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.status.Err
	c.status.Err = err
	if old == nil || err == nil {
		return (old == nil) != (err == nil)
	}
	return old.Error() != err.Error()
}

// GetX509SVID implements x509svid.Source.
func (c *Cell) GetX509SVID() (*x509svid.SVID, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.svid == nil {
		if c.status.Err != nil {
			return nil, fmt.Errorf("no SVID received so far: %w", c.status.Err)
		}
		return nil, errors.New("no SVID received so far")
	}
	return c.svid, nil
}

// GetX509BundleForTrustDomain implements x509bundle.Source.
func (c *Cell) GetX509BundleForTrustDomain(td spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if b := c.bundles[td]; b != nil {
		return b, nil
	}
	return nil, fmt.Errorf("no bundle for trust domain %q", td.Name())
}

// Changed returns a channel that is closed at the next change.
func (c *Cell) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changed == nil {
		c.changed = make(chan struct{})
	}
	return c.changed
}

// Status returns a copy of the state.
func (c *Cell) Status() security.Status {
	c.mu.RLock()
	defer c.mu.RUnlock()
	s := c.status
	s.TrustDomains = slices.Clone(s.TrustDomains)
	return s
}

func sameSVID(a, b *x509svid.SVID) bool {
	if a == nil || b == nil || len(a.Certificates) != len(b.Certificates) {
		return a == b
	}
	for i := range a.Certificates {
		if !a.Certificates[i].Equal(b.Certificates[i]) {
			return false
		}
	}
	return true
}

func sameBundles(a, b Bundles) bool {
	if len(a) != len(b) {
		return false
	}
	for td, x := range a {
		if y := b[td]; y == nil || !x.Equal(y) {
			return false
		}
	}
	return true
}

// Verify checks that an SVID is valid now and leads to its bundle. Its text is the
// same each time, unlike that of x509, which holds the time.
func Verify(svid *x509svid.SVID, own *x509bundle.Bundle) error {
	leaf, now := svid.Certificates[0], time.Now()
	if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return fmt.Errorf("it is valid only from %s to %s; look at its issuer and at this machine's clock",
			leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	_, _, err := x509svid.Verify(svid.Certificates, own, x509svid.WithTime(now))
	return err
}
