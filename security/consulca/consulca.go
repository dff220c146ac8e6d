// Package consulca gives a service the identity that Consul's Connect CA issues to it:
// the leaf certificate, and the roots of the mesh, both followed, so that renewals and
// rotations of the CA arrive by themselves.
//
// There are two ways. By Consul's gRPC API, if its address is known, the private key is
// made in this process and never leaves it, and the certificate is renewed at a
// random moment between 60 and 90 % of its life. Else by the HTTP API of the local
// agent, which makes the key and renews the leaf.
//
// Every root that Consul lists is trusted, and the leaf is presented with its
// intermediates, as Consul's rotation needs. While the agent is away the last
// identity stays in use; an expired one is never presented.
//
// By HTTP the agent holds the leaf's key and gives it to whoever calls its API (for a
// leaf that it holds already, with any token). Treat the reach of that port as access
// to the key: one agent per trust boundary.
package consulca

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"google.golang.org/grpc"

	"github.com/weft-mesh/weft/security"
	"github.com/weft-mesh/weft/security/internal/held"
)

// Config configures a Source. Service is required.
type Config struct {
	// Service is the name of the service to be. Empty is refused.
	Service string
	// Client talks to the local agent. Nil makes one from the environment, as
	// Consul's own tools do: CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN, CONSUL_CACERT, …
	Client *api.Client
	// GRPCAddr is Consul's gRPC API: "host:port" on this machine, "https://host:port"
	// (the port grpc_tls) or "unix:///path". Empty: with a nil Client CONSUL_GRPC_ADDR;
	// empty too: the HTTP API alone.
	GRPCAddr string
	// GRPCTLS is for an https GRPCAddr. nil: the CA of CONSUL_GRPC_CACERT or
	// CONSUL_CACERT, else the system's.
	GRPCTLS *tls.Config
	// Token is the ACL token for gRPC; Client has its own. Empty: with a nil Client
	// CONSUL_HTTP_TOKEN; empty too: none. TokenFile, if not empty, holds it and is
	// read for each request.
	Token, TokenFile string
	// Datacenter, Namespace and Partition are those of the identity to ask for by
	// gRPC. Empty: what Consul says it is; the default ones.
	Datacenter, Namespace, Partition string
	// ExtraBundles are bundles of further trust domains, for example of peered
	// clusters. They are never merged with Consul's own. Nil adds none; a bundle
	// that is empty, or that shares its trust domain with another, is refused.
	ExtraBundles []*x509bundle.Bundle
	// Wait is how long one blocking query waits at the agent. 0 is 5 minutes; at most 10.
	Wait time.Duration
	// MaxBackoff bounds the random pause after a failed query. 0 is 30 s.
	MaxBackoff time.Duration
	// CacheDir keeps the identity, its private key included, in a file for the
	// owner only, so that a process can start while the agent is away. It is used
	// when the agent refuses or does not answer within a second. Empty keeps nothing.
	// By gRPC nothing is kept, as the key never leaves the process.
	CacheDir string
	// Logger gets the events. Nil discards them.
	Logger *slog.Logger
}

// Source is the identity of one service. It implements security.Source.
type Source struct {
	cfg    Config
	extra  held.Bundles
	cell   held.Cell
	cancel context.CancelFunc
	wg     sync.WaitGroup
	conn   *grpc.ClientConn // nil: by HTTP
	dc     string           // signer's
	// idle closes the connections of a client that is our own.
	idle func()

	mu   sync.Mutex // leaf, the bundle and the verdict over both go together
	leaf *x509svid.SVID
	own  *x509bundle.Bundle
	errs map[string]error // by watch; "fit" is of both together
	// failed is closed when the first query has failed.
	failed chan struct{}
}

// New starts watching and waits for the first identity, at most until ctx ends; then
// the error says what the agent answered last. ctx bounds only that wait. The
// caller must Close the source.
func New(ctx context.Context, cfg Config) (*Source, error) {
	s, err := prepare(cfg)
	if err != nil {
		return nil, err
	}
	return s.start(ctx)
}

func (s *Source) start(ctx context.Context) (*Source, error) {
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	ready := s.cell.Changed()
	if s.conn != nil {
		news := make(chan signing)
		s.wg.Go(func() { s.followRoots(run, news) })
		s.wg.Go(func() { s.signer(run, news) })
	} else {
		s.wg.Go(func() { s.watch(run, "leaf", s.fetchLeaf) })
		s.wg.Go(func() { s.watch(run, "roots", s.fetchRoots) })
	}
	s.wg.Go(func() { s.cell.Guard(run.Done(), s.cfg.Logger) })
	if s.cfg.CacheDir != "" {
		s.startCached(ctx, ready)
	}
	select {
	case <-ready:
		return s, nil
	case <-ctx.Done():
		why := s.cell.Status().Err
		_ = s.Close() // always nil
		if why == nil {
			why = errors.New("no answer from Consul")
		}
		return nil, fmt.Errorf("consulca: no identity for service %q: %w; last: %w", s.cfg.Service, context.Cause(ctx), why)
	}
}

// startCached gives the agent the first word, and takes the cached identity if it
// does not use it.
func (s *Source) startCached(ctx context.Context, ready <-chan struct{}) {
	grace := time.NewTimer(cacheGrace)
	defer grace.Stop()
	select {
	case <-ready:
		return
	case <-ctx.Done():
		return
	case <-s.failed:
	case <-grace.C:
	}
	if err := s.load(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.cfg.Logger.Warn("identity.cache_unusable", "service", s.cfg.Service, "error", err)
	}
}

func prepare(cfg Config) (*Source, error) {
	if err := spiffeid.ValidatePathSegment(cfg.Service); err != nil {
		return nil, fmt.Errorf("consulca: Config.Service %q cannot be part of a SPIFFE ID: %w", cfg.Service, err)
	}
	if cfg.Wait < 0 || cfg.Wait > 10*time.Minute {
		return nil, fmt.Errorf("consulca: Config.Wait is %v, want 0 to 10m", cfg.Wait)
	}
	if cfg.MaxBackoff < 0 {
		return nil, fmt.Errorf("consulca: Config.MaxBackoff is %v, want 0 or more", cfg.MaxBackoff)
	}
	if cfg.Wait == 0 {
		cfg.Wait = 5 * time.Minute
	}
	if cfg.MaxBackoff == 0 {
		cfg.MaxBackoff = 30 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Source{cfg: cfg, extra: held.Bundles{}, errs: map[string]error{}, failed: make(chan struct{}), idle: func() {}}
	for _, b := range cfg.ExtraBundles {
		if b == nil || b.Empty() {
			return nil, errors.New("consulca: Config.ExtraBundles holds an empty bundle; leave out a trust domain that nobody is trusted of")
		}
		if s.extra[b.TrustDomain()] != nil {
			return nil, fmt.Errorf("consulca: Config.ExtraBundles holds two bundles for trust domain %s", b.TrustDomain().Name())
		}
		s.extra[b.TrustDomain()] = b.Clone()
	}
	if cfg.Client == nil {
		s.cfg.GRPCAddr = cmp.Or(cfg.GRPCAddr, os.Getenv(api.GRPCAddrEnvName))
		if cfg.Token == "" && cfg.TokenFile == "" {
			s.cfg.Token, s.cfg.TokenFile = os.Getenv(api.HTTPTokenEnvName), os.Getenv(api.HTTPTokenFileEnvName)
		}
		conf := api.DefaultConfig()
		client, err := api.NewClient(conf)
		if err != nil {
			return nil, fmt.Errorf("consulca: make a client from the environment (CONSUL_HTTP_ADDR and others): %w", err)
		}
		s.cfg.Client, s.idle = client, idler(conf)
	}
	if s.cfg.GRPCAddr != "" {
		s.cfg.CacheDir = ""
		if err := s.openGRPC(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// idler closes what a client made from conf keeps open.
func idler(conf *api.Config) func() {
	if conf.HttpClient != nil {
		return conf.HttpClient.CloseIdleConnections
	}
	if conf.Transport != nil {
		return conf.Transport.CloseIdleConnections
	}
	return (&http.Client{}).CloseIdleConnections
}

// GetX509SVID implements security.Source.
func (s *Source) GetX509SVID() (*x509svid.SVID, error) { return s.cell.GetX509SVID() }

// GetX509BundleForTrustDomain implements security.Source.
func (s *Source) GetX509BundleForTrustDomain(td spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	return s.cell.GetX509BundleForTrustDomain(td)
}

// Changed returns a channel that is closed when the SVID or a bundle next changes.
func (s *Source) Changed() <-chan struct{} { return s.cell.Changed() }

// Status describes the identity. Its Err is why the last query of the agent failed.
func (s *Source) Status() security.Status { return s.cell.Status() }

// Close ends the watches and waits for them. The last identity stays usable until
// it expires. It is idempotent and always returns nil.
func (s *Source) Close() error {
	s.cancel()
	s.wg.Wait()
	s.idle()
	if s.conn != nil {
		_ = s.conn.Close() // again, at the second Close
	}
	return nil
}
