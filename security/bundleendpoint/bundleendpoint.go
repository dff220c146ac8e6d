package bundleendpoint

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Why a bundle is not taken; test with errors.Is.
var (
	// ErrSequence: the bundle is older than one that was fetched before.
	ErrSequence = errors.New("the sequence number of the bundle went back")
	// ErrNoBundle: there is no bundle (yet) of the trust domain.
	ErrNoBundle = errors.New("no bundle")
)

// Source is the bundle of another trust domain, kept fresh. It implements
// security.Foreign, and the sources of X.509 and JWT bundles of go-spiffe.
type Source struct {
	cfg    Config
	td     spiffeid.TrustDomain
	id     spiffeid.ID // of the endpoint; zero: it has a certificate of its host
	get    func(context.Context) (*spiffebundle.Bundle, error)
	cancel context.CancelFunc
	wg     sync.WaitGroup
	asked  chan struct{} // closed after the first attempt

	mu      sync.Mutex
	held    *spiffebundle.Bundle // the latest; nil: none so far
	x509    *x509bundle.Bundle   // of held; nil: nobody is trusted
	jwt     *jwtbundle.Bundle    // of held
	changed chan struct{}
	status  Status
}

// Status is what a Source knows of itself. It holds no secret.
type Status struct {
	// TrustDomain is whose bundle it is.
	TrustDomain string
	// X509 and JWT are how many authorities of each kind the bundle has.
	X509, JWT int
	// Sequence is the bundle's sequence number; 0 if it has none.
	Sequence uint64
	// Fetched is when the endpoint last gave a good bundle, Updated when that was a
	// new one; zero: never. Next is when the endpoint is asked again.
	Fetched, Updated, Next time.Time
	// Err is why the last attempt failed; nil if it did not. The bundle from before
	// stays in use.
	Err error
}

// Follow starts to fetch, and to fetch again. It does not wait for the first answer;
// WaitAsked does. The caller must Close the result.
func Follow(cfg Config) (*Source, error) {
	s, err := prepare(cfg)
	if err != nil {
		return nil, err
	}
	if s.get, err = s.httpGet(); err != nil {
		return nil, err
	}
	s.start()
	return s, nil
}

func prepare(cfg Config) (*Source, error) {
	s := &Source{asked: make(chan struct{}), changed: make(chan struct{})}
	var err error
	if s.td, s.id, err = cfg.check(); err != nil {
		return nil, err
	}
	s.cfg, s.status.TrustDomain = cfg, s.td.Name()
	return s, nil
}

func (s *Source) start() {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.wg.Go(func() { s.run(ctx) })
}

// run fetches until ctx ends. A failed attempt waits for the next regular time, as
// the standard wants it, but a first bundle is tried for sooner.
func (s *Source) run(ctx context.Context) {
	saved := s.load()
	for failures := 0; ; {
		b, err := s.fetch(ctx)
		if ctx.Err() != nil {
			return
		}
		if err = s.take(b, err); err != nil {
			failures++
		} else {
			failures = 0
			saved = s.save(saved)
		}
		wait := s.pause(failures)
		s.mu.Lock()
		s.status.Next = time.Now().Add(wait)
		s.mu.Unlock()
		select {
		case <-s.asked:
		default:
			close(s.asked)
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}

func (s *Source) fetch(ctx context.Context) (*spiffebundle.Bundle, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.Timeout, fmt.Errorf("no answer within %v", s.cfg.Timeout))
	defer cancel()
	b, err := s.get(ctx)
	if err != nil && context.Cause(ctx) != nil {
		err = context.Cause(ctx) // says more
	}
	return b, err
}

// pause is how long to wait after an attempt, with jitter to the early side.
func (s *Source) pause(failures int) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	wait := DefaultRefresh
	if s.held != nil {
		if hint, ok := s.held.RefreshHint(); ok && hint > 0 { // beyond int64 it is below
			wait = hint
		}
	}
	wait = min(max(wait, s.cfg.MinRefresh), s.cfg.MaxRefresh)
	if s.held == nil && failures > 0 {
		sooner := s.cfg.MinRefresh
		for i := 1; i < failures && sooner < wait; i++ {
			sooner *= 2
		}
		sooner = min(sooner, wait)
		return sooner - rand.N(sooner/2+1)
	}
	return wait - rand.N(wait/10+1)
}

// take puts what an attempt gave in use, or notes why that was nothing.
func (s *Source) take(b *spiffebundle.Bundle, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	log := s.cfg.Logger.With("trust_domain", s.td.Name())
	if err == nil && s.held != nil {
		was, numbered := s.held.SequenceNumber()
		if now, ok := b.SequenceNumber(); ok && numbered && now < was {
			err = fmt.Errorf("%w from %d to %d", ErrSequence, was, now)
		}
	}
	last := s.status.Err
	if err != nil {
		err = fmt.Errorf("bundleendpoint: bundle of trust domain %s: %w", s.td.Name(), err)
		s.status.Err = err
		if last == nil || last.Error() != err.Error() {
			detail := "the last bundle stays in use"
			if s.held == nil {
				detail = "nobody of this trust domain is trusted until there is one"
			}
			log.Warn("bundle.lost", "detail", detail, "error", err)
		}
		return err
	}
	s.status.Err, s.status.Fetched = nil, time.Now()
	if last != nil {
		log.Info("bundle.connected")
	}
	s.publish(b, "bundle.updated")
	return nil
}

// publish makes b the latest bundle; the caller holds mu.
func (s *Source) publish(b *spiffebundle.Bundle, event string) {
	if s.held != nil && s.held.Equal(b) {
		return
	}
	roots := b.X509Bundle()
	s.status.X509, s.status.JWT, s.status.Updated = len(roots.X509Authorities()), len(b.JWTAuthorities()), time.Now()
	s.status.Sequence, _ = b.SequenceNumber()
	s.held, s.jwt, s.x509 = b, b.JWTBundle(), roots
	log := s.cfg.Logger.With("trust_domain", s.td.Name(), "sequence", s.status.Sequence)
	if roots.Empty() {
		s.x509 = nil
		log.Warn("bundle.emptied", "detail", "the trust domain publishes no X.509 authorities: nobody of it is trusted any more")
	} else {
		log.Info(event, "roots", s.status.X509)
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// authority is the bundle to verify the endpoint with: the latest of its trust domain.
func (s *Source) authority(td spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	if td == s.td {
		s.mu.Lock()
		held, x := s.held, s.x509
		s.mu.Unlock()
		switch {
		case x != nil:
			return x, nil
		case held != nil:
			return nil, fmt.Errorf("%w: it has published one without authorities, so its endpoint cannot prove itself any more; federate anew, with a new Bootstrap", ErrNoBundle)
		}
	}
	return s.cfg.Bootstrap.GetX509BundleForTrustDomain(td)
}

// WaitAsked waits until the endpoint was asked once, and says how that went.
func (s *Source) WaitAsked(ctx context.Context) error {
	select {
	case <-s.asked:
		return s.Status().Err
	case <-ctx.Done():
		return fmt.Errorf("bundleendpoint: bundle of trust domain %s: %w", s.td.Name(), context.Cause(ctx))
	}
}

// Bundle implements security.Foreign.
func (s *Source) Bundle() *x509bundle.Bundle {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.x509
}

// Changed implements security.Foreign.
func (s *Source) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// GetX509BundleForTrustDomain implements x509bundle.Source.
func (s *Source) GetX509BundleForTrustDomain(td spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	if b := s.Bundle(); b != nil && td == s.td {
		return b, nil
	}
	return nil, fmt.Errorf("bundleendpoint: %w of trust domain %q", ErrNoBundle, td.Name())
}

// GetJWTBundleForTrustDomain implements jwtbundle.Source, for security.ValidateJWT.
func (s *Source) GetJWTBundleForTrustDomain(td spiffeid.TrustDomain) (*jwtbundle.Bundle, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.jwt != nil && td == s.td {
		return s.jwt, nil
	}
	return nil, fmt.Errorf("bundleendpoint: %w of trust domain %q", ErrNoBundle, td.Name())
}

// Status returns a copy of the state.
func (s *Source) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// Close ends the fetching and waits for it. The last bundle stays. It is idempotent
// and always returns nil.
func (s *Source) Close() error {
	s.cancel()
	s.wg.Wait()
	return nil
}
