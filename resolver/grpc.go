package resolver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	grpcresolver "google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"
)

// Scheme is the scheme of targets that a Builder resolves, as in "mesh:///payments".
const Scheme = "mesh"

// ErrNoEndpoints is the cause of an error for a service that is known to have no
// endpoints that may take traffic.
var ErrNoEndpoints = errors.New("no endpoints")

// BuilderConfig adjusts a Builder. The zero value works with every
// load-balancing policy of grpc-go.
type BuilderConfig struct {
	// ExpectedID is the SPIFFE ID that an endpoint must prove. nil:
	// Endpoint.SPIFFEID. It is called once per endpoint and must depend on nothing
	// but the endpoint.
	ExpectedID func(*Endpoint) string
	// Decorate may add attributes to a state before gRPC gets it. It must not
	// change the slices of the state, which channels share. nil: nothing is added.
	Decorate func(*grpcresolver.State)
	// ServiceConfig is the gRPC service config of all channels, in JSON. Empty: none.
	ServiceConfig string
}

// Builder is a gRPC resolver builder over a Catalog, for grpc.WithResolvers. Do
// not register it globally. A target is "mesh:///payments" or "mesh:payments";
// anything more in it, such as a query, is refused: secrets have no place in a
// target, which gRPC logs.
//
// The channel's authority is the service name. A channel whose service is
// Unknown waits; once the catalog has a reason, RPCs that do not wait for ready
// fail with it. So do RPCs to a service that is known to have no endpoints.
type Builder struct {
	cat      Catalog
	cfg      BuilderConfig
	cache    conversions
	rejected atomic.Int64
}

// NewBuilder makes a Builder that watches services at cat. Channels of one
// service share cat's watch if cat shares it, as [Cache] and [Merged] do.
func NewBuilder(cat Catalog, cfg BuilderConfig) *Builder {
	return &Builder{cat: cat, cfg: cfg}
}

// Scheme implements the builder interface of gRPC.
func (b *Builder) Scheme() string { return Scheme }

// Rejected counts states that a load-balancing policy refused. Stock policies
// refuse an empty one.
func (b *Builder) Rejected() int64 { return b.rejected.Load() }

// Build implements the builder interface of gRPC. It starts a watch and returns
// at once. It fails only for a target that can never be resolved.
func (b *Builder) Build(target grpcresolver.Target, cc grpcresolver.ClientConn, _ grpcresolver.BuildOptions) (grpcresolver.Resolver, error) {
	service, err := serviceOfTarget(target)
	if err != nil {
		return nil, err
	}
	if b.cat == nil {
		return nil, errors.New("resolver: the Builder has no Catalog")
	}
	r := &grpcResolver{b: b, cc: cc, service: service, done: make(chan struct{})}
	if b.cfg.ServiceConfig != "" {
		r.serviceConfig = cc.ParseServiceConfig(b.cfg.ServiceConfig)
		if r.serviceConfig != nil && r.serviceConfig.Err != nil {
			return nil, fmt.Errorf("resolver: BuilderConfig.ServiceConfig: %w", r.serviceConfig.Err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go r.watch(ctx)
	return r, nil
}

func serviceOfTarget(t grpcresolver.Target) (string, error) {
	u := t.URL
	what := ""
	switch {
	case u.User != nil:
		what = "user information"
	case u.Host != "":
		what = "an authority (two slashes; write mesh:///service)"
	case u.RawQuery != "" || u.ForceQuery:
		what = "a query"
	case u.Fragment != "":
		what = "a fragment"
	}
	if what != "" {
		return "", fmt.Errorf("resolver: a %s target has %s, which is not allowed; use %s:///service", Scheme, what, Scheme)
	}
	service := strings.TrimPrefix(t.Endpoint(), "/")
	if err := CheckService(service); err != nil {
		return "", fmt.Errorf("resolver: a %s target is %s:///service: %w", Scheme, Scheme, err)
	}
	return service, nil
}

// grpcResolver is the resolver of one channel: one goroutine.
type grpcResolver struct {
	b             *Builder
	cc            grpcresolver.ClientConn
	service       string
	serviceConfig *serviceconfig.ParseResult
	accepted      bool // the policy has taken a state; only deliver uses it
	cancel        context.CancelFunc
	done          chan struct{}
	closeOnce     sync.Once
}

func (r *grpcResolver) watch(ctx context.Context) {
	defer close(r.done)
	conv := r.b.cache.acquire(r.service)
	defer r.b.cache.release(r.service)
	err := r.b.cat.Watch(ctx, r.service, func(s *Snapshot) { r.deliver(s, conv) })
	if ctx.Err() == nil {
		if err == nil {
			err = errors.New("the watch ended")
		}
		r.cc.ReportError(fmt.Errorf("resolver: service %q: %w", r.service, err))
	}
}

func (r *grpcResolver) deliver(s *Snapshot, conv *conversion) {
	if s.State == Unknown {
		if s.Reason != nil {
			r.cc.ReportError(fmt.Errorf("resolver: service %q is not known yet: %w", r.service, s.Reason))
		}
		return
	}
	state := conv.state(s, r.b.cfg.ExpectedID)
	state.ServiceConfig = r.serviceConfig
	if r.b.cfg.Decorate != nil {
		r.b.cfg.Decorate(&state)
	}
	if len(s.Endpoints) == 0 && !r.accepted {
		// Before a policy has seen anything, the error alone fails RPCs with its text.
		r.cc.ReportError(noEndpoints(s))
		return
	}
	if err := r.cc.UpdateState(state); err == nil {
		r.accepted = true
	} else {
		// The policy keeps what it had. A watch has nothing better to offer until
		// the next change, so it only counts, and says why if there is nothing to use.
		r.b.rejected.Add(1)
		if len(state.Endpoints) == 0 {
			// Policies that keep a child per endpoint pass an error on only to children:
			// one without an address can fail RPCs with the reason, none cannot.
			state.Endpoints = []grpcresolver.Endpoint{{}}
			_ = r.cc.UpdateState(state)
			r.cc.ReportError(noEndpoints(s))
		}
	}
}

func noEndpoints(s *Snapshot) error {
	if n := len(s.Endpoints); n > 0 {
		return fmt.Errorf("resolver: service %q: %w: all %d are critical (catalog is %s)", s.Service, ErrNoEndpoints, n, s.State)
	}
	return fmt.Errorf("resolver: service %q: %w are in the catalog (%s); is it registered under this name?", s.Service, ErrNoEndpoints, s.State)
}

// ResolveNow does nothing: the watch already delivers each change at once.
func (r *grpcResolver) ResolveNow(grpcresolver.ResolveNowOptions) {}

// Close ends the watch and waits for it.
func (r *grpcResolver) Close() {
	r.closeOnce.Do(r.cancel)
	<-r.done
}
