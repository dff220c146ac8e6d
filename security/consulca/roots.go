package consulca

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/security/internal/pemid"
)

// RootsConfig configures a Roots. Client is required.
type RootsConfig struct {
	// Client talks to an agent. nil is refused.
	Client *api.Client
	// Peer is the cluster peer, as the agent's cluster calls it, whose CA is followed;
	// that needs peering:read. Empty: the CA of the agent's own cluster.
	Peer string
	// Wait is how long one blocking query waits. 0 is 1 minute, for a peer 2 s,
	// because Consul does not wake a reader when a peering ends; at most 10 minutes.
	Wait time.Duration
	// MaxBackoff bounds the random pause after a failed query. 0 is 30 s.
	MaxBackoff time.Duration
	// Logger gets the events. Nil discards them.
	Logger *slog.Logger
}

// Roots follows the CA of another cluster. It implements security.Foreign: give it to
// security.Federate. While the agent is away the last bundle stays; when the peering
// has ended there is none any more.
type Roots struct {
	cfg    RootsConfig
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	bundle  *x509bundle.Bundle
	changed chan struct{}
	err     error
}

// FollowRoots starts following. It does not wait for the first answer. The caller must
// Close the result.
func FollowRoots(cfg RootsConfig) (*Roots, error) {
	switch {
	case cfg.Client == nil:
		return nil, errors.New("consulca: RootsConfig.Client is nil")
	case cfg.Wait < 0 || cfg.Wait > 10*time.Minute:
		return nil, fmt.Errorf("consulca: RootsConfig.Wait is %v, want 0 to 10m", cfg.Wait)
	case cfg.MaxBackoff < 0:
		return nil, fmt.Errorf("consulca: RootsConfig.MaxBackoff is %v, want 0 or more", cfg.MaxBackoff)
	}
	if cfg.Wait == 0 {
		cfg.Wait = time.Minute
		if cfg.Peer != "" {
			cfg.Wait = 2 * time.Second
		}
	}
	if cfg.MaxBackoff == 0 {
		cfg.MaxBackoff = 30 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Roots{cfg: cfg, changed: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.wg.Go(func() { r.run(ctx) })
	return r, nil
}

// Bundle implements security.Foreign.
func (r *Roots) Bundle() *x509bundle.Bundle {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bundle
}

// Changed implements security.Foreign.
func (r *Roots) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// Err is why the last query failed; nil if it did not.
func (r *Roots) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Close ends the watch and waits for it. The last bundle stays. It is idempotent and
// always returns nil.
func (r *Roots) Close() error {
	r.cancel()
	r.wg.Wait()
	return nil
}

func (r *Roots) run(ctx context.Context) {
	var index uint64
	gone := false
	for failures := 0; ctx.Err() == nil; {
		bundle, got, err := r.ask(ctx, index)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			index = 0
			r.take(nil, err)
			sleep(ctx, backoff(failures, r.cfg.MaxBackoff))
			failures++
			continue
		case got < index, bundle == nil && !gone: // lost state, or an end: believed when asked anew
			index = 0
		default:
			r.take(bundle, nil)
			index, failures = got, 0
		}
		gone = bundle == nil
		if got == 0 || gone { // nothing that one could wait on
			index = 0
			sleep(ctx, time.Second)
		}
		sleep(ctx, pace)
	}
}

func (r *Roots) ask(ctx context.Context, index uint64) (*x509bundle.Bundle, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Wait+r.cfg.Wait/16+5*time.Second)
	defer cancel()
	q := (&api.QueryOptions{WaitIndex: index, WaitTime: r.cfg.Wait}).WithContext(ctx)
	if r.cfg.Peer == "" {
		roots, meta, err := r.cfg.Client.Connect().CARoots(q)
		if err != nil {
			return nil, 0, fmt.Errorf("ask for the CA roots: %w", plain(err))
		}
		bundle, err := parseRoots(roots)
		return bundle, meta.LastIndex, err
	}
	p, meta, err := r.cfg.Client.Peerings().Read(ctx, r.cfg.Peer, q)
	var status api.StatusError
	switch {
	case errors.As(err, &status) && status.Code == http.StatusNotFound, err == nil && p == nil:
		return nil, 0, nil // the peering has ended
	case err != nil:
		return nil, 0, fmt.Errorf("ask for the peering (the token needs peering:read): %w", plain(err))
	case p.State == api.PeeringStateDeleting, p.State == api.PeeringStateTerminated:
		return nil, meta.LastIndex, nil
	}
	bundle, err := peerBundle(p.PeerCAPems)
	return bundle, meta.LastIndex, err
}

func (r *Roots) take(bundle *x509bundle.Bundle, err error) {
	if err != nil {
		err = fmt.Errorf("consulca: roots of %s: %w", r.whose(), err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	old, was := r.bundle, r.err
	r.err = err
	log := r.cfg.Logger.With("of", r.whose())
	switch {
	case err != nil:
		if was == nil || was.Error() != err.Error() {
			log.Warn("bundle.lost", "detail", "the last bundle stays in use", "error", err)
		}
		return
	case bundle == nil && old == nil, bundle != nil && old != nil && bundle.Equal(old):
		return
	case bundle == nil:
		log.Warn("bundle.removed", "trust_domain", old.TrustDomain().Name())
	default:
		log.Info("bundle.updated", "trust_domain", bundle.TrustDomain().Name(), "roots", len(bundle.X509Authorities()))
	}
	r.bundle = bundle
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *Roots) whose() string {
	if r.cfg.Peer != "" {
		return fmt.Sprintf("peer %q", r.cfg.Peer)
	}
	return "the cluster"
}

// peerBundle reads a peer's CA certificates. Those of Consul's own CA carry the trust
// domain as their URI; that of an outside root does not, and it needs one that does.
func peerBundle(pems []string) (*x509bundle.Bundle, error) {
	if len(pems) > maxRoots {
		return nil, fmt.Errorf("the peering has %d certificates, the limit is %d", len(pems), maxRoots)
	}
	var list []*x509.Certificate
	domain := ""
	for i, text := range pems {
		certs, err := pemid.Certs([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("certificate %d of the peering: %w", i+1, plain(err))
		}
		for _, c := range certs {
			list = append(list, c)
			if len(c.URIs) != 1 || c.URIs[0].Scheme != "spiffe" {
				continue
			}
			if d := c.URIs[0].Host; domain == "" {
				domain = d
			} else if d != domain {
				return nil, fmt.Errorf("the peering's certificates are of two trust domains, %.80q and %.80q", domain, d)
			}
		}
	}
	if domain == "" {
		return nil, errors.New("no certificate of the peering names a trust domain (yet)")
	}
	td, err := spiffeid.TrustDomainFromString(domain)
	if err != nil {
		return nil, fmt.Errorf("the peering's trust domain %.80q: %w", domain, err)
	}
	return x509bundle.FromX509Authorities(td, list), nil
}
