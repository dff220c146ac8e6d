package authz

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"

	"github.com/weft-mesh/weft/security"
)

// Config configures an Authorizer. Service and at least one of Sources are required.
//
// A condition (CEL) sees caller.id, .trust_domain, .partition, .namespace,
// .datacenter, .service, .cloud, .region and .zone; request.protocol, .method, .path,
// .authority and .headers (lists by lower-case name, of up to 1000 values: with more a
// condition that asks for them denies); grpc.service and grpc.method;
// claims (of the token that the permission, or else the intention, asks for);
// service.name, .tags and .metadata; now. It may cost a bounded number of steps.
type Config struct {
	// Scope says for which service. Its Service is required.
	Scope
	// Sources of rules: a request must be allowed by each of them. None is refused.
	Sources []Source
	// External is asked about what the rules allow. nil: nobody is.
	External External
	// DryRun lets everything pass and logs what would not: event authz.would_deny.
	// What is ambiguous is refused all the same. False: rules are enforced.
	DryRun bool
	// Anonymous reports whether callers without an identity are let in meanwhile, as
	// while a service is migrated from plaintext; no rule is asked about them. nil:
	// never.
	Anonymous func() bool
	// AllowAbsolute accepts HTTP requests with an absolute URL, and AllowConnect the
	// method CONNECT. False: they are refused.
	AllowAbsolute, AllowConnect bool
	// SampleAllowed is the share of allowed requests that are logged, 0 to 1. 0: none.
	SampleAllowed float64
	// LogRate bounds the events that callers can cause, per second; what is left out
	// is counted in the next. 0: 100.
	LogRate int
	// OnDecision is told of each decision that was carried out, with the name of the rule.
	// It is called on the way of the request and must not block. nil: nobody is told.
	OnDecision func(result Result, rule string)
	// Logger gets the audit log and what becomes of the rules. nil: nothing is logged.
	Logger *slog.Logger
}

// Result is what became of a request.
type Result string

// The results. WouldDeny is a dry run's; a request that lasts and is no longer allowed
// is Revoked.
const (
	Allowed   Result = "allow"
	Denied    Result = "deny"
	WouldDeny Result = "would_deny"
	Revoked   Result = "revoked"
)

// External is an engine of your own, for example OPA. It can only refuse.
type External interface {
	// Authorize returns nil to allow. An error refuses, whatever it is, and is
	// logged. It is called with a context that ends with the request; on gRPC after
	// the first message was received.
	Authorize(ctx context.Context, r *Request) error
}

// Authorizer holds the rules in force and judges requests. Its gRPC face is
// [GRPCServerOptions], its HTTP face [HTTPHandler].
type Authorizer struct {
	cfg    Config
	log    *slog.Logger
	audit  *audit
	keys   *remoteKeys
	cancel context.CancelFunc
	wg     sync.WaitGroup

	state atomic.Pointer[state]

	mu      sync.Mutex
	peers   map[string]string // as Config.Peers; replaced, never written to
	layers  []*Policy         // by source; nil: not known yet
	raw     []Rules
	changed chan struct{}
	ready   chan struct{}
	live    map[*Live]struct{}
	closed  bool
}

// state is what is in force.
type state struct {
	layers []*Policy
	known  bool // all layers are
}

// New starts to watch the sources. It does not wait for their rules, see
// [Authorizer.WaitReady]: until they are there nothing is allowed. The caller must
// Close it.
func New(cfg Config) (*Authorizer, error) {
	if cfg.Service == "" {
		return nil, errors.New("authz: Config.Service is empty; rules are for a service")
	}
	if len(cfg.Sources) == 0 {
		return nil, errors.New("authz: Config.Sources is empty; to allow every member of the trust domain use Static{Default: Allow}")
	}
	for i, s := range cfg.Sources {
		if s == nil {
			return nil, fmt.Errorf("authz: Config.Sources[%d] is nil", i)
		}
	}
	if !(cfg.SampleAllowed >= 0 && cfg.SampleAllowed <= 1) || math.IsNaN(cfg.SampleAllowed) {
		return nil, fmt.Errorf("authz: Config.SampleAllowed is %v, want 0 to 1", cfg.SampleAllowed)
	}
	if cfg.LogRate < 0 {
		return nil, fmt.Errorf("authz: Config.LogRate is %d, want 0 or more", cfg.LogRate)
	}
	if err := checkPeers(cfg.Peers, cfg.TrustDomain); err != nil {
		return nil, fmt.Errorf("authz: Config.Peers: %w", err)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.LogRate == 0 {
		cfg.LogRate = 100
	}
	run, cancel := context.WithCancel(context.Background())
	a := &Authorizer{
		cfg: cfg, log: cfg.Logger, cancel: cancel,
		layers: make([]*Policy, len(cfg.Sources)), raw: make([]Rules, len(cfg.Sources)),
		changed: make(chan struct{}), ready: make(chan struct{}), live: map[*Live]struct{}{},
	}
	a.peers = cfg.Peers
	a.audit = newAudit(cfg)
	a.keys = newRemoteKeys(run, &a.wg, a.log, a.keysChanged)
	a.state.Store(&state{})
	for i, s := range cfg.Sources {
		if s, ok := s.(Static); ok { // needs no goroutine
			a.set(i, Rules(s))
			continue
		}
		a.wg.Go(func() {
			if err := s.Watch(run, func(r Rules) { a.set(i, r) }); err != nil && run.Err() == nil {
				a.log.Error("authz.source_ended", "service", cfg.Service, "error", clip(err.Error()))
			}
		})
	}
	return a, nil
}

// WaitReady waits until all rules are known, or ctx ends.
func (a *Authorizer) WaitReady(ctx context.Context) error {
	select {
	case <-a.ready:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("authz: %w: %w", ErrNotReady, context.Cause(ctx))
	}
}

// Ready reports whether all rules are known.
func (a *Authorizer) Ready() bool { return a.state.Load().known }

// Close ends the watches and waits for them. The rules stay in force. It is
// idempotent.
func (a *Authorizer) Close(ctx context.Context) error {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.cancel()
	done := make(chan struct{})
	go func() { a.wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("authz: close: a source of rules has not ended: %w", context.Cause(ctx))
	}
}

// set puts the rules of one source in force.
func (a *Authorizer) set(i int, r Rules) {
	p := a.compileLocked(r) // leaves it locked
	first := a.layers[i] == nil
	a.layers[i], a.raw[i] = p, r
	known := a.publishLocked()
	uris := map[string]bool{}
	for _, r := range a.raw {
		for _, p := range r.Providers {
			uris[p.KeysURI] = true
		}
	}
	a.keys.retain(uris)
	a.mu.Unlock()
	a.tell(p)
	a.log.Info("authz.rules", "service", a.cfg.Service, "version", p.version, "rules", len(p.rules),
		"default", string(p.fallback), "problems", len(p.problems), "first", first, "known", known)
	a.review()
}

// tell logs what could not be honoured.
func (a *Authorizer) tell(p *Policy) {
	for _, err := range p.problems {
		a.log.Error("authz.rule_refused", "service", a.cfg.Service, "version", p.version, "error", clip(err.Error()))
	}
}

// publishLocked makes the layers visible to requests.
func (a *Authorizer) publishLocked() bool {
	st := &state{layers: append([]*Policy(nil), a.layers...), known: true}
	for _, p := range st.layers {
		st.known = st.known && p != nil
	}
	a.state.Store(st)
	close(a.changed)
	a.changed = make(chan struct{})
	if st.known {
		select {
		case <-a.ready:
		default:
			close(a.ready)
		}
	}
	return st.known
}

// keysChanged has live requests judged anew after a provider's keys have changed.
func (a *Authorizer) keysChanged() {
	a.mu.Lock()
	close(a.changed)
	a.changed = make(chan struct{})
	a.mu.Unlock()
	a.review()
}

// Changed returns a channel that is closed when a decision may be another than
// before: ask [Authorizer.Peer] again for each connection.
func (a *Authorizer) Changed() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.changed
}

// Problems are the rules that could not be honoured, and so deny.
func (a *Authorizer) Problems() (list []error) {
	for _, p := range a.state.Load().layers {
		if p != nil {
			list = append(list, p.problems...)
		}
	}
	return list
}

// Decide judges a request by the rules in force, and by nothing else: no dry run,
// no outside engine, no log.
func (a *Authorizer) Decide(r *Request) Decision {
	if r.Caller.IsZero() && a.cfg.Anonymous != nil && a.cfg.Anonymous() {
		return Decision{Allowed: true, Rule: "permissive mode"}
	}
	st := a.state.Load()
	if !st.known {
		return Decision{Err: ErrNotReady, Rule: "none yet", reason: "the rules are not known yet"}
	}
	d := st.layers[0].Decide(r)
	for _, p := range st.layers[1:] {
		if !d.Allowed {
			break
		}
		next := p.Decide(r)
		if next.Allowed && next.Claims == nil {
			next.Claims = d.Claims
		}
		d = next
	}
	return d
}

// Peer is a [security.Authorizer]: it refuses the connections of callers that could
// not be allowed anything. A mesh gateway is accepted, because what it passes on is
// judged by whom it is from; so is everybody in a dry run, and while the rules are
// not known.
func (a *Authorizer) Peer(id security.PeerID) error {
	st := a.state.Load()
	if !st.known || a.cfg.DryRun || isGateway(id) && id.TrustDomain().Name() == a.cfg.TrustDomain {
		return nil
	}
	r := &Request{Caller: id}
	for _, p := range st.layers {
		if d := p.Peer(r); !d.Allowed {
			return fmt.Errorf("authz: %w", d.Err)
		}
	}
	return nil
}
