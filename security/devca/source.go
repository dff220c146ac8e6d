package devca

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/weft-mesh/weft/security"
	"github.com/weft-mesh/weft/security/internal/held"
	"github.com/weft-mesh/weft/security/internal/wall"
)

// Source is one workload's identity. It renews itself until it is closed.
type Source struct {
	ca   *CA
	id   spiffeid.ID
	cell held.Cell

	once       sync.Once
	stop, done chan struct{}
}

// Source issues an identity and keeps it fresh. name is a SPIFFE ID of the CA's trust
// domain, or the name of a service, whose ID is then ID("", name). The caller
// must Close it.
func (ca *CA) Source(name string) (*Source, error) {
	id, err := ca.resolve(name)
	if err != nil {
		return nil, err
	}
	s := &Source{ca: ca, id: id, stop: make(chan struct{}), done: make(chan struct{})}
	if err := s.Rotate(); err != nil {
		return nil, err
	}
	go s.run()
	return s, nil
}

// Rotate replaces the SVID now.
func (s *Source) Rotate() error {
	svid, err := s.ca.sign(s.id)
	if err != nil {
		s.cell.Note(err)
		return err
	}
	s.cell.Note(nil)
	s.cell.Set(svid, held.Bundles{s.ca.td: s.ca.bundle})
	s.ca.cfg.Logger.Debug("svid.rotated", "spiffe_id", s.id.String(),
		"not_after", svid.Certificates[0].NotAfter)
	return nil
}

func (s *Source) run() {
	defer close(s.done)
	for {
		// 60 to 90 % of the lifetime; as after a failure time is short, less then.
		wait := time.Duration((0.6 + 0.3*rand.Float64()) * float64(s.ca.cfg.TTL))
		if s.cell.Status().Err != nil {
			wait /= 10
		}
		if !wall.Wait(time.Now().Add(wait), s.stop, nil) {
			return
		}
		if err := s.Rotate(); err != nil {
			s.ca.cfg.Logger.Error("svid.renewal_failed", "spiffe_id", s.id.String(), "error", err)
		}
	}
}

// ID is the identity's SPIFFE ID.
func (s *Source) ID() spiffeid.ID { return s.id }

// GetX509SVID implements security.Source.
func (s *Source) GetX509SVID() (*x509svid.SVID, error) { return s.cell.GetX509SVID() }

// GetX509BundleForTrustDomain implements security.Source; only the CA's own trust
// domain has a bundle.
func (s *Source) GetX509BundleForTrustDomain(td spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	return s.cell.GetX509BundleForTrustDomain(td)
}

// Changed returns a channel that is closed when the SVID is next replaced.
func (s *Source) Changed() <-chan struct{} { return s.cell.Changed() }

// Status describes the identity.
func (s *Source) Status() security.Status { return s.cell.Status() }

// Close ends the renewal and waits for it. The last SVID stays usable until it
// expires. It is idempotent and always returns nil.
func (s *Source) Close() error {
	s.once.Do(func() { close(s.stop) })
	<-s.done
	return nil
}
