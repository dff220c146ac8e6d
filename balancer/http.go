package balancer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/weft-mesh/weft/internal/coalesce"
	"github.com/weft-mesh/weft/resolver"
)

// ErrClosed is the error of a request to a Transport that was closed.
var ErrClosed = errors.New("balancer: the Transport is closed")

// Transport is an http.RoundTripper that sends each request to an endpoint of
// the service that its URL names: http://payments/charge. All services share it;
// each has one watch and one Balancer, made by its first request and released
// when it was idle for long.
//
// Each endpoint has a connection pool of its own, so connections of two
// identities never mix. The scheme of the URL means nothing: all requests go
// over TLS, or none. The Host header stays what the caller wrote.
//
// An attempt counts in the endpoint's load until the response's body is closed
// or read to its end. A request whose connection could not be made is sent to
// another endpoint, as nothing of it has left; nothing else is repeated here.
type Transport struct {
	cfg     TransportConfig
	buffers coalesce.Buffers
	fresh   time.Duration // see there

	mu       sync.RWMutex
	services map[serviceKey]*service
	closed   bool
	wg       sync.WaitGroup // what the services run
}

// NewTransport makes a Transport. It does no I/O and starts nothing. Close it.
func NewTransport(cfg TransportConfig) (*Transport, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if _, err := New(cfg.Balancer, Connector{Connect: func(*Node) Conn { return noConn{} }}); err != nil {
		return nil, err
	}
	return &Transport{cfg: cfg, fresh: fresh, services: map[serviceKey]*service{}}, nil
}

// RoundTrip implements http.RoundTripper. The error is ErrNoEndpoint for a
// service without endpoints, ErrNotReady if none became known in time, ErrClosed,
// the context's, or what the connection failed with.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	name, err := resolver.ServiceOf(req.URL)
	if err != nil {
		closeBody(req)
		return nil, err
	}
	k := serviceKey{name: name}
	if call := CallFrom(req.Context()); call != nil {
		k.lane = call.Lane
	}
	s, err := t.enter(k)
	if err != nil {
		closeBody(req)
		return nil, err
	}
	resp, err := s.roundTrip(req) // passes the place in the gate on to the body
	if err != nil {
		s.leave()
		return nil, fmt.Errorf("balancer: service %q: %w", name, err)
	}
	return resp, nil
}

// serviceKey is a service, or a lane of it.
type serviceKey struct{ name, lane string }

// enter finds the service or makes it, and counts a request in.
func (t *Transport) enter(k serviceKey) (*service, error) {
	for {
		t.mu.RLock()
		s, closed := t.services[k], t.closed
		t.mu.RUnlock()
		if closed {
			return nil, ErrClosed
		}
		if s != nil && s.gate.enter() {
			return s, nil
		}
		if err := t.open(k, s); err != nil {
			return nil, err
		}
	}
}

// open replaces the released service old, or nil, by a new one.
func (t *Transport) open(k serviceKey, old *service) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return ErrClosed
	case t.services[k] != old:
		return nil // another request was faster
	case old == nil && len(t.services) >= t.cfg.MaxServices:
		return fmt.Errorf("balancer: service %q: %d services are in use, which is the limit; raise TransportConfig.MaxServices", k.name, len(t.services))
	}
	s, err := newService(t, k)
	if err != nil {
		return err
	}
	t.services[k] = s
	return nil
}

// forget drops a released service.
func (t *Transport) forget(s *service) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.services[s.key] == s {
		delete(t.services, s.key)
	}
}

func (t *Transport) list() []*service {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var all []*service
	for _, s := range t.services {
		all = append(all, s)
	}
	return all
}

// Status reports the balancing of each service in use, by name; a lane is
// "service/lane".
func (t *Transport) Status() map[string]Status {
	out := map[string]Status{}
	for _, s := range t.list() {
		name := s.name
		if s.key.lane != "" {
			name += "/" + s.key.lane
		}
		out[name] = s.lb.Status()
	}
	return out
}

// CloseIdleConnections closes the connections that no request uses. The services
// stay watched.
func (t *Transport) CloseIdleConnections() {
	for _, s := range t.list() {
		s.eachPool((*pool).closeIdle)
	}
}

// Close refuses new requests, waits for those under way, bodies included, and
// closes everything. When ctx ends first, it breaks what is still open and
// returns ctx's error. It is idempotent.
func (t *Transport) Close(ctx context.Context) error {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	var err error
	for _, s := range t.list() {
		err = errors.Join(err, s.close(ctx))
	}
	t.wg.Wait()
	if err != nil {
		return fmt.Errorf("balancer: closing the Transport: %w", ctx.Err())
	}
	return nil
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}
