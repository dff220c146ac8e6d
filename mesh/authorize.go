package mesh

import (
	"context"
	"fmt"
	"time"

	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/consul"
	"github.com/weft-mesh/weft/security/authz"
	"github.com/weft-mesh/weft/security/authz/consulauthz"
)

// AuthorizationConfig says what callers may do at the servers of this process. The
// zero value enforces Consul's intentions, with a Consul catalog; with another
// catalog it lets the members of the own trust domain do everything.
//
// Rules of several origins must all allow. A request is judged after its
// connection's identity was proven and before its body is read; the path that was
// judged is the one that the handler gets, and requests whose path can be read in
// several ways are refused. When the rules change, streams are judged anew, and the
// connections of callers who may call nothing any more are closed. See package authz.
type AuthorizationConfig struct {
	// NoIntentions leaves Consul's intentions out. Default false.
	NoIntentions bool
	// PolicyFile is a YAML or JSON file with rules in the form of Consul's config
	// entries, read again when it changes; it may hold conditions (CEL). Empty:
	// WEFT_POLICY_FILE; empty too: none.
	PolicyFile string
	// Rules are further rules, in code. Zero: none.
	Rules authz.Rules
	// Sources are further sources of rules. nil: none.
	Sources []authz.Source
	// External is an engine of your own that is asked about what the rules allow.
	// nil: none.
	External authz.External
	// Peers are the trust domains of Consul's cluster peerings by the peering's name,
	// for intentions with a Peer; callers of others are refused. nil: those that Consul has,
	// if it is the identity's CA too and its token has peering:read; else none. Empty
	// but not nil: none.
	Peers map[string]string
	// Localities are where callers run, by the datacenter in their SPIFFE ID, for
	// conditions. nil: a caller's cloud is its datacenter.
	Localities map[string]resolver.Locality
	// DryRun lets everything pass and logs what would be denied. Default false.
	DryRun bool
	// SampleAllowed is the share of allowed requests in the audit log, 0 to 1. 0: none.
	SampleAllowed float64
	// AllowAbsolute accepts HTTP requests with an absolute URL, and AllowConnect the
	// method CONNECT. Default false.
	AllowAbsolute, AllowConnect bool
}

// rulesTimeout bounds how long Join waits for the first rules; without them the
// servers refuse every request.
const rulesTimeout = 3 * time.Second

// Authorizer is what judges the requests to this process's servers.
func (m *Mesh) Authorizer() *authz.Authorizer { return m.authorizer }

// openAuthorization starts to watch the rules. ctx bounds the wait for the first.
func (m *Mesh) openAuthorization(ctx context.Context) error {
	c := &m.cfg.Authorization
	own, err := m.identity.GetX509SVID()
	if err != nil {
		return fmt.Errorf("mesh: the trust domain for authorization: %w", err)
	}
	cfg := authz.Config{
		Scope: authz.Scope{
			Service: m.cfg.Service, TrustDomain: own.ID.TrustDomain().Name(), Peers: m.knownPeers(ctx, own.ID.TrustDomain().Name()),
			Tags: m.cfg.Tags, Metadata: m.cfg.Metadata,
		},
		External: c.External, DryRun: c.DryRun, SampleAllowed: c.SampleAllowed,
		AllowAbsolute: c.AllowAbsolute, AllowConnect: c.AllowConnect, Logger: m.log,
		OnDecision: func(r authz.Result, rule string) { m.watch.registry().Authz(string(r), rule) },
	}
	if len(c.Localities) > 0 {
		cfg.Localities = map[string]authz.Locality{}
		for dc, l := range c.Localities {
			cfg.Localities[dc] = authz.Locality{Cloud: l.Cloud, Region: l.Region, Zone: l.Zone}
		}
	}
	if until := m.cfg.Permissive; !until.IsZero() {
		cfg.Anonymous = func() bool { return time.Now().Before(until) }
	}
	asked, err := m.openIntentions(&cfg)
	if err != nil {
		return err
	}
	if c.PolicyFile != "" {
		file, err := authz.OpenFile(authz.FileConfig{Path: c.PolicyFile, Logger: m.log})
		if err != nil {
			return fmt.Errorf("mesh: Config.Authorization.PolicyFile (or WEFT_POLICY_FILE): %w", err)
		}
		cfg.Sources = append(cfg.Sources, file)
	}
	if len(c.Rules.Intentions) > 0 || c.Rules.Default != "" {
		cfg.Sources = append(cfg.Sources, authz.Static(c.Rules))
	}
	cfg.Sources = append(cfg.Sources, c.Sources...)
	if len(cfg.Sources) == 0 {
		cfg.Sources = []authz.Source{authz.Static{Default: authz.Allow, Version: "members of the own trust domain"}}
		cfg.AnyDomain = m.cfg.Authorize != nil // who may connect may call
	}
	if m.authorizer, err = authz.New(cfg); err != nil {
		return fmt.Errorf("mesh: Config.Authorization: %w", err)
	}
	m.onLeave(m.authorizer.Close)
	m.watchPeers(cfg.TrustDomain)
	m.watchCallers()
	m.awaitRules(ctx, asked)
	return nil
}

// openIntentions adds the intentions of the agent that announces this process; asked
// is closed when it has answered or failed once.
func (m *Mesh) openIntentions(cfg *authz.Config) (asked <-chan struct{}, err error) {
	if m.cfg.catalog != "consul" || m.cfg.Authorization.NoIntentions {
		return nil, nil
	}
	home, ok := m.homeCloud()
	if !ok {
		return nil, nil // callers of other clouds only
	}
	conf, release, err := home.APIConfig()
	if err != nil {
		return nil, err
	}
	m.onLeave(func(context.Context) error { release(); return nil })
	src, err := consulauthz.New(consulauthz.Config{Service: m.cfg.Service, API: conf, CacheDir: m.cfg.SnapshotDir, Logger: m.log})
	if err != nil {
		return nil, err
	}
	cfg.Sources = append(cfg.Sources, src)
	return src.Asked(), nil
}

// homeCloud is the cloud whose agent is this process's own.
func (m *Mesh) homeCloud() (consul.Config, bool) {
	if i := m.home(); i >= 0 {
		return m.cfg.Clouds[i], true
	}
	return consul.Config{}, false
}

// awaitRules waits for the first rules, but not for an agent that fails to answer: a
// service must be able to start while Consul is down.
func (m *Mesh) awaitRules(ctx context.Context, asked <-chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, rulesTimeout)
	defer cancel()
	go func() {
		select {
		case <-asked: // never, if nil
			// What it said, or the rules of the last run, are put in force now.
			time.AfterFunc(100*time.Millisecond, cancel)
		case <-ctx.Done():
		}
	}()
	if err := m.authorizer.WaitReady(ctx); err != nil {
		m.log.Warn("authz.not_ready", "service", m.cfg.Service,
			"detail", "the rules for callers are not known yet; until they are the servers refuse every request")
	}
}
