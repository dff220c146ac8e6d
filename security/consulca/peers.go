package consulca

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// maxPeers bounds the peerings that are read.
const maxPeers = 1000

// PeersConfig configures a Peers. Client is required.
type PeersConfig struct {
	// Client talks to an agent; its token needs peering:read. nil is refused.
	Client *api.Client
	// Wait is how long one blocking query waits. 0 is 1 minute; at most 10.
	Wait time.Duration
	// MaxBackoff bounds the random pause after a failed query. 0 is 30 s.
	MaxBackoff time.Duration
	// CacheFile keeps the peerings of the last run for a start while the agent is away, for
	// three days at most. Empty keeps nothing.
	CacheFile string
	// Logger gets the events. Nil discards them.
	Logger *slog.Logger
}

// Peers follows all cluster peerings of the agent's cluster: the name, the trust
// domain and the CA of each. It implements security.Foreign, with the bundles of
// several trust domains.
//
// A trust domain that two peerings claim is nobody's: what a peer says of itself must not
// decide about another. While the agent is away the last peerings stay; one that ends
// is gone at once.
type Peers struct {
	cfg    PeersConfig
	cancel context.CancelFunc
	wg     sync.WaitGroup
	asked  chan struct{}

	mu      sync.Mutex
	byName  map[string]*x509bundle.Bundle
	changed chan struct{}
	err     error
	refused string // what could not be read, as it was told last
	saved   time.Time
	unsaved bool
}

// FollowPeers starts following. It does not wait for the first answer. The caller must
// Close the result.
func FollowPeers(cfg PeersConfig) (*Peers, error) {
	switch {
	case cfg.Client == nil:
		return nil, errors.New("consulca: PeersConfig.Client is nil")
	case cfg.Wait < 0 || cfg.Wait > 10*time.Minute:
		return nil, fmt.Errorf("consulca: PeersConfig.Wait is %v, want 0 to 10m", cfg.Wait)
	case cfg.MaxBackoff < 0:
		return nil, fmt.Errorf("consulca: PeersConfig.MaxBackoff is %v, want 0 or more", cfg.MaxBackoff)
	}
	if cfg.Wait == 0 {
		cfg.Wait = time.Minute
	}
	if cfg.MaxBackoff == 0 {
		cfg.MaxBackoff = 30 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Peers{cfg: cfg, asked: make(chan struct{}), changed: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	p.wg.Go(func() { p.run(ctx) })
	return p, nil
}

// Domains are the trust domains by the peering's name, without those that are not
// known yet or that two peerings claim.
func (p *Peers) Domains() map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string]string{}
	for name, b := range p.byName {
		out[name] = b.TrustDomain().Name()
	}
	return out
}

// GetX509BundleForTrustDomain implements x509bundle.Source.
func (p *Peers) GetX509BundleForTrustDomain(td spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.byName {
		if b.TrustDomain() == td {
			return b, nil
		}
	}
	return nil, fmt.Errorf("consulca: no peering has trust domain %.80q", td.Name())
}

// Bundle implements security.Foreign: there is not one, see GetX509BundleForTrustDomain.
func (p *Peers) Bundle() *x509bundle.Bundle { return nil }

// Changed implements security.Foreign.
func (p *Peers) Changed() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

// Asked is closed when the agent has answered or failed once.
func (p *Peers) Asked() <-chan struct{} { return p.asked }

// Err is why the last query failed; nil if it did not.
func (p *Peers) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Close ends the watch and waits for it. The last bundles stay. It is idempotent and
// always returns nil.
func (p *Peers) Close() error {
	p.cancel()
	p.wg.Wait()
	return nil
}

func (p *Peers) run(ctx context.Context) {
	p.load()
	var index uint64
	first := sync.OnceFunc(func() { close(p.asked) })
	for failures := 0; ctx.Err() == nil; {
		list, got, err := p.ask(ctx, index)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			index = 0
			p.fail(err)
			first()
			if denied(err) { // for long, as a rule
				sleep(ctx, p.cfg.MaxBackoff)
			}
			sleep(ctx, backoff(failures, p.cfg.MaxBackoff))
			failures++
			continue
		case got < index: // lost state: believed when asked anew
			got = 0
		case got == index && index > 0: // nothing new, whatever the body says
			p.fail(nil)
			p.save()
		default:
			p.take(list)
			p.save()
			first()
		}
		index, failures = got, 0
		if got == 0 { // nothing that one could wait on
			sleep(ctx, time.Second)
		}
		sleep(ctx, pace)
	}
}

func (p *Peers) ask(ctx context.Context, index uint64) ([]*api.Peering, uint64, error) {
	within := p.cfg.Wait + p.cfg.Wait/16 + 5*time.Second
	if index == 0 {
		within = 10 * time.Second // it does not block
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	q := (&api.QueryOptions{WaitIndex: index, WaitTime: p.cfg.Wait}).WithContext(ctx)
	list, meta, err := p.cfg.Client.Peerings().List(ctx, q)
	if err != nil {
		return nil, 0, fmt.Errorf("ask for the peerings: %w", plain(err))
	}
	if len(list) > maxPeers {
		return nil, 0, fmt.Errorf("the agent lists %d peerings, the limit is %d", len(list), maxPeers)
	}
	return list, meta.LastIndex, nil
}

// fail keeps why a query failed; nil if it did not.
func (p *Peers) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := p.err
	if p.err = err; err == nil {
		return
	}
	p.err = fmt.Errorf("consulca: peerings: %w", err)
	if last != nil && last.Error() == p.err.Error() {
		return
	}
	level, detail := slog.LevelWarn, "the last peerings stay in use"
	if denied(err) {
		// Usual for a token that only a service's identity goes with.
		level, detail = slog.LevelInfo, "the token lacks peering:read, so callers of peered clusters are not known; give it that, or name them in the configuration"
	}
	p.cfg.Logger.Log(context.Background(), level, "peers.unknown", "detail", detail, "error", p.err)
}

func denied(err error) bool {
	var status api.StatusError
	return errors.As(err, &status) && status.Code == http.StatusForbidden
}

// take puts what the agent lists in use.
func (p *Peers) take(list []*api.Peering) {
	next, problems := readPeers(list)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = nil
	if text := fmt.Sprint(problems); len(problems) == 0 {
		p.refused = ""
	} else if text != p.refused {
		p.refused = text
		for _, err := range problems {
			p.cfg.Logger.Warn("peers.refused", "error", err)
		}
	}
	if maps.EqualFunc(p.byName, next, func(a, b *x509bundle.Bundle) bool { return a.Equal(b) }) {
		return
	}
	p.byName, p.unsaved = next, true
	p.cfg.Logger.Info("peers.updated", "peers", slices.Sorted(maps.Keys(next)))
	close(p.changed)
	p.changed = make(chan struct{})
}

// readPeers reads the bundles of peerings by their names, and tells what is wrong with
// those that it leaves out. A peering that is being made has none yet.
func readPeers(list []*api.Peering) (map[string]*x509bundle.Bundle, []error) {
	out := map[string]*x509bundle.Bundle{}
	var problems []error
	owners := map[spiffeid.TrustDomain][]string{}
	for _, x := range list {
		if x == nil || x.DeletedAt != nil || len(x.PeerCAPems) == 0 ||
			x.State == api.PeeringStateDeleting || x.State == api.PeeringStateTerminated {
			continue
		}
		b, err := peerBundle(x.PeerCAPems)
		if err != nil {
			problems = append(problems, fmt.Errorf("consulca: peering %.80q is left out: %w", x.Name, err))
			continue
		}
		out[x.Name] = b
		owners[b.TrustDomain()] = append(owners[b.TrustDomain()], x.Name)
	}
	for td, names := range owners {
		if len(names) < 2 {
			continue
		}
		slices.Sort(names)
		problems = append(problems, fmt.Errorf("consulca: peerings %.200q are left out: all say that they are trust domain %s", names, td.Name()))
		for _, n := range names {
			delete(out, n)
		}
	}
	return out, problems
}
