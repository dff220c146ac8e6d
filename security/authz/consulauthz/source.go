// Package consulauthz takes the rules of one service from Consul: its intentions,
// the token providers that they name, and the default policy, watched by blocking
// queries of the local agent.
//
// While the agent is away the last rules stay in force; they are kept on disk, too,
// for a process that starts then. Before the first answer nothing is known, and so
// nothing allowed. What an answer holds that cannot be read denies.
//
// The token needs service:write for the service, as a service's own token has.
package consulauthz

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/weft-mesh/weft/security/authz"
)

// Config configures a Source. Service is required.
type Config struct {
	// Service is the service whose callers the rules are about. Empty is refused.
	Service string
	// API says how to reach the agent. nil: by the environment, as Consul's own
	// tools do (CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN, CONSUL_CACERT, …).
	API *api.Config
	// Default is what applies where no intention does. Empty: what Consul says
	// (default_intention_policy, else the default policy of its ACLs).
	Default authz.Action
	// Wait is how long one blocking query waits at the agent. 0 is 5 minutes; at most 10.
	Wait time.Duration
	// MaxBackoff bounds the random pause after a failed query. 0 is 10 s.
	MaxBackoff time.Duration
	// Hold is how long an answer without any intention is not believed after Consul
	// has lost its state and there were intentions before. 0 is 5 min; negative: it
	// is believed at once.
	Hold time.Duration
	// CacheDir is where the last rules are kept, in a file for the owner only. They
	// are used for a day. Empty keeps nothing.
	CacheDir string
	// Logger gets the events. nil discards them.
	Logger *slog.Logger
}

// Source gives the rules of one service. It implements [authz.Source].
type Source struct {
	cfg  Config
	conf api.Config
	log  *slog.Logger

	mu     sync.Mutex
	now    answers
	err    map[string]error
	held   time.Time // since when an empty answer is held
	asked  chan struct{}
	cached bool // what is in force is from disk
}

// answers are what Consul said last.
type answers struct {
	intentions json.RawMessage // of match; nil: not known
	providers  json.RawMessage // a list; nil: not known
	fallback   authz.Action
	version    string
}

// New checks the configuration. It does no I/O.
func New(cfg Config) (*Source, error) {
	if cfg.Service == "" {
		return nil, errors.New("consulauthz: Config.Service is empty")
	}
	if cfg.Wait < 0 || cfg.Wait > 10*time.Minute {
		return nil, fmt.Errorf("consulauthz: Config.Wait is %v, want 0 to 10m", cfg.Wait)
	}
	if cfg.MaxBackoff < 0 {
		return nil, fmt.Errorf("consulauthz: Config.MaxBackoff is %v, want 0 or more", cfg.MaxBackoff)
	}
	if cfg.Default != "" && cfg.Default != authz.Allow && cfg.Default != authz.Deny {
		return nil, fmt.Errorf("consulauthz: Config.Default is %q, want %q, %q or nothing", cfg.Default, authz.Allow, authz.Deny)
	}
	if cfg.Wait == 0 {
		cfg.Wait = 5 * time.Minute
	}
	if cfg.MaxBackoff == 0 {
		cfg.MaxBackoff = 10 * time.Second
	}
	if cfg.Hold == 0 {
		cfg.Hold = 5 * time.Minute
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	conf := cfg.API
	if conf == nil {
		conf = api.DefaultConfig()
	}
	s := &Source{cfg: cfg, conf: *conf, log: cfg.Logger, err: map[string]error{}, asked: make(chan struct{})}
	if _, err := api.NewClient(&s.conf); err != nil { // fills in what is left out
		return nil, fmt.Errorf("consulauthz: Config.API: %w", err)
	}
	client := *s.conf.HttpClient
	// A redirect would carry the token to whoever it names.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	s.conf.HttpClient = &client
	return s, nil
}

// Asked returns a channel that is closed when the agent has answered for the first
// time, or failed to.
func (s *Source) Asked() <-chan struct{} { return s.asked }

// Status says how old the rules are.
type Status struct {
	// Version is that of the rules in force; empty: none are known.
	Version string
	// Cached reports that they are from disk, of an earlier run.
	Cached bool
	// Err is why the last query failed; nil if it did not.
	Err error
}

// Status describes the source. It holds no secret.
func (s *Source) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Status{s.now.version, s.cached, errors.Join(s.err["intentions"], s.err["providers"])}
}

// Watch implements authz.Source. One Source may be watched once at a time.
func (s *Source) Watch(ctx context.Context, set func(authz.Rules)) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer s.conf.HttpClient.CloseIdleConnections()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &watch{Source: s, ctx: ctx, set: set}
	w.providers = sync.OnceFunc(func() {
		wg.Go(func() { s.follow(ctx, "providers", "/v1/config/"+authz.KindProvider, nil, w.takeProviders, w.failed) })
	})
	if s.cfg.CacheDir != "" {
		grace := time.AfterFunc(cacheGrace, w.useCache)
		defer grace.Stop()
	}
	query := map[string]string{"by": "destination", "name": s.cfg.Service}
	s.follow(ctx, "intentions", "/v1/connect/intentions/match", query, w.takeIntentions, w.failed)
	return ctx.Err()
}
