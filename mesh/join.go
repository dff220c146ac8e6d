package mesh

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/chain"
	"github.com/weft-mesh/weft/security"
	"github.com/weft-mesh/weft/security/authz"
	"github.com/weft-mesh/weft/security/bundleendpoint"
	"github.com/weft-mesh/weft/security/devca"
)

// Mesh is this process's membership. Its methods are safe for concurrent use.
type Mesh struct {
	cfg        *resolved
	log        *slog.Logger
	catalog    resolver.Catalog
	caches     []namedCache
	registrar  resolver.Registrar
	chains     chain.Source   // nil: there are none
	identity   *security.Live // in front of what openIdentity opened
	federated  []*bundleendpoint.Source
	peers      peerDomains
	entriesErr func() error // why newer content of Config.Entries is not in use; nil: there are none
	authorizer *authz.Authorizer
	egress     *authz.Egress
	store      *balancer.Store
	to         *destinations
	from       inbound
	watch      *watch // nil: nothing is measured
	grpc       grpcFace
	http       httpFace
	rejects    limiter
	cuts       limiter
	plain      plaintext
	closers    []func(context.Context) error // run by Leave, last first

	mu   sync.Mutex
	left bool
}

type namedCache struct {
	name  string
	cache *resolver.Cache
}

// ErrLeft is what a Mesh answers after Leave.
var ErrLeft = errors.New("mesh: this process has left the mesh")

// errJoinTimeout says whose time it was that is over.
var errJoinTimeout = fmt.Errorf("no identity within %v, which is the limit for a context without a deadline", joinTimeout)

// Join makes this process a member. It returns once there is an identity, or
// with an error that names what is missing; ctx bounds the wait, 30 s do if it has
// no deadline. ctx does not end the membership: Leave does. An unreachable
// catalog is no error, because a service must be able to start while Consul is down.
func Join(ctx context.Context, cfg Config) (m *Mesh, err error) {
	r, err := resolve(cfg, os.Getenv)
	if err != nil {
		return nil, &Error{Op: "join", Service: cfg.Service, Err: err}
	}
	r.guardCallbacks()
	m = &Mesh{cfg: r, log: r.Logger, store: &balancer.Store{}}
	defer func() {
		if err != nil {
			_ = m.Leave(context.WithoutCancel(ctx))
			m, err = nil, &Error{Op: "join", Service: r.Service, Err: err}
		}
	}()
	m.openBallast()
	if err = m.openCatalog(ctx); err != nil {
		return m, err
	}
	ictx, cancel := ctx, context.CancelFunc(func() {})
	if _, bounded := ctx.Deadline(); !bounded {
		ictx, cancel = context.WithTimeoutCause(ctx, joinTimeout, errJoinTimeout)
	}
	defer cancel()
	own, err := m.openIdentity(ictx)
	if err != nil {
		return m, err
	}
	if err = m.openTrust(own); err != nil {
		return m, err
	}
	if err = m.openAuthorization(ictx); err != nil {
		return m, err
	}
	if err = m.checkBalancer(); err != nil {
		return m, err
	}
	if m.from, err = newInbound(r.Inbound, r.see); err != nil {
		return m, err
	}
	if m.to, err = newDestinations(r); err != nil {
		return m, err
	}
	if m.chains != nil {
		m.to.route = newRouting(m, m.chains)
		m.to.route.followOwn()
	}
	m.onLeave(func(context.Context) error { m.to.close(); return nil })
	if err = m.openTelemetry(); err != nil {
		return m, err
	}
	if err = m.openEgress(); err != nil {
		return m, err
	}
	if err = m.openHTTP(); err != nil {
		return m, err
	}
	m.followIdentity(m.identity.Source)
	m.log.Info("mesh.joined", "service", r.Service, "catalog", r.catalog, "identity", r.identity, "locality", r.Locality.String())
	return m, nil
}

// Leave ends the membership: open connections, watches and identities are
// closed, in that order, and everything that Join started has ended when it
// returns, or ctx has. HTTP requests under way are waited for while ctx lasts;
// gRPC calls in flight fail at once. Servers are ended by Serve's context, before;
// if that is ctx, and so has ended already, Leave has 5 s. It is idempotent.
func (m *Mesh) Leave(ctx context.Context) error {
	m.mu.Lock()
	if m.left {
		m.mu.Unlock()
		return nil
	}
	m.left = true
	m.mu.Unlock()
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
		defer cancel()
	}
	m.grpc.close()
	var errs []error
	for i := len(m.closers) - 1; i >= 0; i-- {
		if err := m.closers[i](ctx); err != nil {
			errs = append(errs, err)
		}
	}
	m.log.Info("mesh.left", "service", m.cfg.Service)
	return errors.Join(errs...)
}

// Service is this process's own name in the mesh.
func (m *Mesh) Service() string { return m.cfg.Service }

// Settings is the effective configuration, with the source of each value.
func (m *Mesh) Settings() Settings { return append(Settings(nil), m.cfg.settings.list...) }

// PrintConfig writes the effective configuration as a table: setting, value,
// where it comes from. It holds no secret.
func (m *Mesh) PrintConfig(w io.Writer) error { return m.Settings().Print(w) }

// onLeave adds something to be closed by Leave.
func (m *Mesh) onLeave(f func(context.Context) error) { m.closers = append(m.closers, f) }

// checkBalancer refuses a bad Config.Balancer at Join rather than at the first call.
func (m *Mesh) checkBalancer() error {
	m.cfg.Balancer.Local = m.cfg.Locality
	m.cfg.Balancer.Store = m.store
	b, err := balancer.New(m.cfg.Balancer, balancer.Connector{Connect: func(*balancer.Node) balancer.Conn { return nil }})
	if err != nil {
		return fmt.Errorf("mesh: Config.Balancer: %w", err)
	}
	b.Close()
	return nil
}

// isLeft reports whether Leave was called.
func (m *Mesh) isLeft() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.left
}

// peerID is the SPIFFE ID that an endpoint must prove. A catalog that does not
// say is of our own trust domain, where paths are Consul's.
func (m *Mesh) peerID(e *resolver.Endpoint) string {
	if m.cfg.PeerID != nil {
		return m.cfg.PeerID(e)
	}
	if e.SPIFFEID != "" {
		return e.SPIFFEID
	}
	own, err := m.identity.GetX509SVID()
	if err != nil {
		return "" // the handshake fails and says that no identity is expected
	}
	id, err := security.ServiceID{
		TrustDomain: own.ID.TrustDomain().Name(),
		Datacenter:  cmp.Or(e.Locality.Cloud, devca.DefaultCloud),
		Service:     e.Service,
	}.ID()
	if err != nil {
		return ""
	}
	return id.String()
}
