package consulca

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/weft-mesh/weft/security"
	"github.com/weft-mesh/weft/security/internal/held"
	"github.com/weft-mesh/weft/security/internal/pemid"
)

const (
	// pace is the least time between two answers: a blocking query can return at
	// once many times, and changes that come together are better read together.
	pace        = 50 * time.Millisecond
	baseBackoff = 100 * time.Millisecond
	maxRoots    = 100
)

// fetch makes one blocking query and gives its index, and how to take its content.
type fetch func(*api.QueryOptions) (index uint64, take func() error, err error)

// watch obeys the rules of blocking queries: the same index again carries no news
// whatever the body says; a lower one means that the agent lost its state, so it is
// read again from 0 and only then believed; after an error it starts from 0.
func (s *Source) watch(ctx context.Context, what string, get fetch) {
	var index uint64
	failures := 0
	for ctx.Err() == nil {
		got, take, err := s.ask(ctx, get, index)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && got == 0:
			err = errors.New("the agent's answer has no index")
		case err == nil && index > 0 && got == index:
			s.outcome(what, nil)
		case err == nil && got < index:
			index = 0
			sleep(ctx, pace)
			continue
		case err == nil:
			if err = take(); err == nil {
				s.outcome(what, nil)
			}
		}
		if err != nil {
			index = 0
			s.outcome(what, err)
			sleep(ctx, backoff(failures, s.cfg.MaxBackoff))
			failures++
			continue
		}
		failures, index = 0, got
		sleep(ctx, pace)
	}
}

func (s *Source) ask(ctx context.Context, get fetch, index uint64) (uint64, func() error, error) {
	wait := s.cfg.Wait
	if index == 0 {
		wait = 15 * time.Second // it does not block, but may have to sign
	}
	// An agent that hangs would otherwise block for ever: consul/api sets no timeout.
	ctx, cancel := context.WithTimeout(ctx, wait+wait/16+5*time.Second)
	defer cancel()
	q := &api.QueryOptions{WaitIndex: index, WaitTime: s.cfg.Wait}
	return get(q.WithContext(ctx))
}

func (s *Source) fetchLeaf(q *api.QueryOptions) (uint64, func() error, error) {
	leaf, meta, err := s.cfg.Client.Agent().ConnectCALeaf(s.cfg.Service, q)
	if err != nil {
		return 0, nil, fmt.Errorf("ask the agent for the leaf certificate: %w", plain(err))
	}
	return meta.LastIndex, func() error {
		svid, err := parseLeaf(leaf, s.cfg.Service)
		if err != nil {
			return err
		}
		return s.take(svid, nil)
	}, nil
}

func (s *Source) fetchRoots(q *api.QueryOptions) (uint64, func() error, error) {
	roots, meta, err := s.cfg.Client.Agent().ConnectCARoots(q)
	if err != nil {
		return 0, nil, fmt.Errorf("ask the agent for the CA roots: %w", plain(err))
	}
	return meta.LastIndex, func() error {
		bundle, err := parseRoots(roots)
		if err != nil {
			return err
		}
		return s.take(nil, bundle)
	}, nil
}

// take publishes what is new together with the newest of the other kind, once both
// belong together. While Consul changes its CA they arrive in any order.
func (s *Source) take(leaf *x509svid.SVID, own *x509bundle.Bundle) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.takeLocked(leaf, own)
	if err == nil && s.leaf != nil && s.own != nil {
		if err := s.save(); err != nil {
			s.cfg.Logger.Warn("identity.cache_failed", "service", s.cfg.Service, "error", err)
		}
	}
	return err
}

func (s *Source) takeLocked(leaf *x509svid.SVID, own *x509bundle.Bundle) error {
	if leaf != nil {
		s.leaf = leaf
	}
	if own != nil {
		s.own = own
	}
	if s.leaf == nil || s.own == nil {
		return nil
	}
	if err := held.Verify(s.leaf, s.own); err != nil {
		return fmt.Errorf("the agent's leaf certificate does not verify against the agent's roots, waiting for the matching ones: %w", plain(err))
	}
	td := s.own.TrustDomain()
	bundles := held.Bundles{td: s.own}
	for extra, b := range s.extra {
		if extra == td {
			return fmt.Errorf("trust domain %s of Config.ExtraBundles is Consul's own, whose roots come from Consul only", td.Name())
		}
		bundles[extra] = b
	}
	newSVID, newBundles := s.cell.Set(s.leaf, bundles)
	log := s.cfg.Logger.With("service", s.cfg.Service, "spiffe_id", s.leaf.ID.String())
	if newSVID {
		log.Info("svid.rotated", "not_after", s.leaf.Certificates[0].NotAfter)
	}
	if newBundles {
		log.Info("bundle.updated", "trust_domain", td.Name(), "roots", len(s.own.X509Authorities()))
	}
	return nil
}

// outcome notes how the last query of one watch went; the source is well when both are.
func (s *Source) outcome(what string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		err = fmt.Errorf("consulca: service %q: %w", s.cfg.Service, err)
		select {
		case <-s.failed:
		default:
			close(s.failed)
		}
	}
	s.errs[what] = err
	all := errors.Join(s.errs["leaf"], s.errs["roots"], s.errs["fit"])
	if !s.cell.Note(all) {
		return
	}
	if all == nil {
		s.cfg.Logger.Info("identity.connected", "service", s.cfg.Service)
		return
	}
	s.cfg.Logger.Warn("identity.lost", "detail", "the last identity stays in use until it expires", "error", all)
}

func parseLeaf(leaf *api.LeafCert, service string) (*x509svid.SVID, error) {
	svid, err := pemid.SVID([]byte(leaf.CertPEM), []byte(leaf.PrivateKeyPEM))
	if err != nil {
		return nil, fmt.Errorf("the agent's leaf certificate is no SVID: %w", plain(err))
	}
	id, err := security.ParseServiceID(svid.ID.String())
	if err != nil {
		return nil, fmt.Errorf("the agent's leaf certificate: %w", err)
	}
	if id.Service != service {
		return nil, fmt.Errorf("the agent's leaf certificate is for service %q", id.Service)
	}
	return svid, nil
}

func parseRoots(list *api.CARootList) (*x509bundle.Bundle, error) {
	td, err := spiffeid.TrustDomainFromString(list.TrustDomain)
	if err != nil {
		return nil, fmt.Errorf("the agent's roots are of trust domain %.80q: %w", list.TrustDomain, err)
	}
	bundle := x509bundle.New(td)
	if len(list.Roots) > maxRoots {
		return nil, fmt.Errorf("the agent lists %d roots, the limit is %d", len(list.Roots), maxRoots)
	}
	for _, r := range list.Roots {
		if r == nil {
			return nil, errors.New("the agent lists an empty root")
		}
		certs, err := pemid.Certs([]byte(r.RootCertPEM))
		if err != nil {
			return nil, fmt.Errorf("root %.80q of the agent: %w", r.ID, plain(err))
		}
		for _, c := range certs {
			bundle.AddX509Authority(c)
		}
	}
	if bundle.Empty() {
		return nil, errors.New("the agent lists no roots; the last ones stay in use")
	}
	return bundle, nil
}

// backoff is full jitter over an exponential bound.
func backoff(failures int, limit time.Duration) time.Duration {
	bound := min(baseBackoff<<min(failures, 20), limit)
	return rand.N(bound + 1)
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// plain makes an answer from outside safe to log, and keeps what errors.Is finds.
func plain(err error) error { return &quoted{err} }

type quoted struct{ err error }

func (q *quoted) Error() string {
	s := q.err.Error()
	if len(s) > 256 {
		s = s[:256] + "…"
	}
	s = strconv.QuoteToGraphic(s)
	return s[1 : len(s)-1]
}

func (q *quoted) Unwrap() error { return q.err }
