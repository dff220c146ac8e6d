// Package workload takes the identity of a process from the SPIFFE Workload API: a
// SPIRE agent, or another implementation, at the socket that
// SPIFFE_ENDPOINT_SOCKET names.
//
// The agent pushes each renewal. While it is away, or denies us (PermissionDenied),
// the last identity stays in use until it expires, and the agent is asked again with
// backoff. InvalidArgument is final, as the Workload API's standard (section 6) demands: the
// request would never be right, so nothing is asked again, and the event
// identity.refused and Status say so.
//
// It is built on go-spiffe's client, but not on its X509Source, which keeps the reason
// of a failed watch to itself and freezes silently when the watch ends.
package workload

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/security"
	"github.com/weft-mesh/weft/security/internal/held"
)

// Config configures a Source. The zero value takes everything from the environment.
type Config struct {
	// Addr is the agent's socket, "unix:///path" or "tcp://ip:port". Empty is what
	// SPIFFE_ENDPOINT_SOCKET says.
	Addr string
	// ID chooses among several identities that the agent may give us. Empty takes
	// the agent's first.
	ID string
	// MaxBackoff bounds the random pause after a failed attempt. 0 is 2 s, as the
	// agent is on the same machine.
	MaxBackoff time.Duration
	// Logger gets the events. Nil discards them.
	Logger *slog.Logger
}

// Source is the identity that the agent gives. It implements security.Source.
type Source struct {
	cfg    Config
	id     spiffeid.ID // zero: the first
	client *workloadapi.Client
	cell   held.Cell
	cancel context.CancelFunc
	wg     sync.WaitGroup
	over   chan struct{} // closed when the watch has ended for good
	once   sync.Once
	tokens tokens
}

// New connects and waits for the first identity, at most until ctx ends; then the error
// says what the agent answered last. ctx bounds only that wait. The caller must
// Close the source.
func New(ctx context.Context, cfg Config) (*Source, error) {
	if cfg.Addr == "" {
		cfg.Addr = os.Getenv(workloadapi.SocketEnv)
	}
	if cfg.Addr == "" {
		return nil, fmt.Errorf("workload: no address of the SPIFFE Workload API: set Config.Addr or %s, for example to unix:///run/spire/agent.sock", workloadapi.SocketEnv)
	}
	if err := workloadapi.ValidateAddress(cfg.Addr); err != nil {
		return nil, fmt.Errorf("workload: Config.Addr or %s is %.200q: %w", workloadapi.SocketEnv, cfg.Addr, err)
	}
	if cfg.MaxBackoff < 0 {
		return nil, fmt.Errorf("workload: Config.MaxBackoff is %v, want 0 or more", cfg.MaxBackoff)
	}
	if cfg.MaxBackoff == 0 {
		cfg.MaxBackoff = 2 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Source{cfg: cfg, over: make(chan struct{})}
	var err error
	if cfg.ID != "" {
		if s.id, err = spiffeid.FromString(cfg.ID); err != nil {
			return nil, fmt.Errorf("workload: Config.ID %.200q: %w", cfg.ID, err)
		}
	}
	s.client, err = workloadapi.New(ctx, workloadapi.WithAddr(cfg.Addr), workloadapi.WithBackoffStrategy(strategy(cfg.MaxBackoff)),
		// gRPC's own pause before it dials again would grow to two minutes.
		workloadapi.WithDialOptions(grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: cfg.MaxBackoff},
			MinConnectTimeout: 5 * time.Second,
		})))
	if err != nil {
		return nil, fmt.Errorf("workload: %s: %w", cfg.Addr, err)
	}
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Source) start(ctx context.Context) error {
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	ready := s.cell.Changed()
	s.wg.Go(func() {
		defer close(s.over)
		err := s.client.WatchX509Context(run, (*watcher)(s))
		if run.Err() == nil {
			s.cfg.Logger.Error("identity.refused", "detail", "the agent rejects our request as invalid; it is not asked again, so the last identity will expire", "error", err)
		}
	})
	s.wg.Go(func() { s.cell.Guard(run.Done(), s.cfg.Logger) })
	var cause error
	select {
	case <-ready:
		return nil
	case <-s.over:
		cause = errors.New("the agent rejects our request as invalid")
	case <-ctx.Done():
		cause = context.Cause(ctx)
	}
	last := s.cell.Status().Err
	_ = s.Close() // nothing was used yet
	if last == nil {
		last = errors.New("the agent has not answered")
	}
	return fmt.Errorf("workload: no identity from %s: %w; last: %w", s.cfg.Addr, cause, last)
}

// GetX509SVID implements security.Source.
func (s *Source) GetX509SVID() (*x509svid.SVID, error) { return s.cell.GetX509SVID() }

// GetX509BundleForTrustDomain implements security.Source.
func (s *Source) GetX509BundleForTrustDomain(td spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	return s.cell.GetX509BundleForTrustDomain(td)
}

// Changed returns a channel that is closed when the SVID or a bundle next changes.
func (s *Source) Changed() <-chan struct{} { return s.cell.Changed() }

// Status describes the identity. Its Err is why the last attempt failed.
func (s *Source) Status() security.Status { return s.cell.Status() }

// Close ends the watch and waits for it. The last identity stays usable until it
// expires. It is idempotent.
func (s *Source) Close() error {
	s.cancel()
	s.wg.Wait()
	var err error
	s.once.Do(func() { err = s.client.Close() })
	return err
}

// watcher hears what the agent says.
type watcher Source

func (w *watcher) OnX509ContextUpdate(c *workloadapi.X509Context) {
	s := (*Source)(w)
	svid, err := s.choose(c.SVIDs)
	bundles := held.Bundles{}
	for _, b := range c.Bundles.Bundles() {
		bundles[b.TrustDomain()] = b
	}
	if err == nil {
		own := bundles[svid.ID.TrustDomain()]
		if own == nil {
			err = errors.New("it comes without the bundle of its trust domain")
		} else {
			err = held.Verify(svid, own)
		}
		if err != nil {
			err = fmt.Errorf("the agent's SVID %s cannot be used: %w", svid.ID, err)
		}
	}
	if err != nil {
		s.note(err)
		return
	}
	s.note(nil)
	newSVID, newBundles := s.cell.Set(svid, bundles)
	if newSVID {
		s.cfg.Logger.Info("svid.rotated", "spiffe_id", svid.ID.String(), "not_after", svid.Certificates[0].NotAfter)
	}
	if newBundles {
		s.cfg.Logger.Info("bundle.updated", "trust_domains", s.cell.Status().TrustDomains)
	}
}

func (w *watcher) OnX509ContextWatchError(err error) {
	s := (*Source)(w)
	switch status.Code(err) {
	case codes.Canceled:
		return
	case codes.PermissionDenied:
		err = fmt.Errorf("the agent knows no identity for this process (is it registered?): %w", err)
	case codes.Unavailable:
		err = fmt.Errorf("the agent cannot be reached: %w", err)
	}
	s.note(err)
}

func (s *Source) note(err error) {
	if err != nil {
		err = fmt.Errorf("workload: %w", err)
	}
	if !s.cell.Note(err) {
		return
	}
	if err != nil {
		s.cfg.Logger.Warn("identity.lost", "detail", "the last identity stays in use until it expires", "error", err)
		return
	}
	s.cfg.Logger.Info("identity.connected", "addr", s.cfg.Addr)
}

func (s *Source) choose(svids []*x509svid.SVID) (*x509svid.SVID, error) {
	for _, v := range svids {
		if s.id.IsZero() || v.ID == s.id {
			return v, nil
		}
	}
	return nil, fmt.Errorf("the agent gives %d identities, and none is %s", len(svids), s.id)
}

// strategy is full jitter over an exponential bound.
type strategy time.Duration

func (s strategy) NewBackoff() workloadapi.Backoff { return &jitter{limit: time.Duration(s)} }

type jitter struct {
	limit time.Duration
	n     int
}

func (j *jitter) Next() time.Duration {
	bound := min(50*time.Millisecond<<min(j.n, 20), j.limit)
	j.n++
	return rand.N(bound + 1)
}

func (j *jitter) Reset() { j.n = 0 }
