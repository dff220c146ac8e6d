package balancer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

// ErrClosed is the error of a request to a Transport that was closed.
var ErrClosed = errors.New("balancer: the Transport is closed")

// TransportConfig says how a Transport finds and reaches endpoints. Catalog, and
// either TLS or Plaintext, are required; every other zero value is a safe default.
type TransportConfig struct {
	// Catalog knows the endpoints. nil is refused.
	Catalog resolver.Catalog
	// Balancer says how endpoints are chosen. The zero value is a safe default; a
	// nil Store is replaced by one that all services of the Transport share.
	Balancer Config
	// BalancerFor gives a service a Config of its own. nil: Balancer for all.
	BalancerFor func(service string) Config
	// TLS is the client configuration for an endpoint: it must accept the identity
	// that is expected of that endpoint and no other. It is asked on each
	// connection; NextProtos is set by the Transport. nil is refused unless Plaintext.
	TLS func(*resolver.Endpoint) (*tls.Config, error)
	// Plaintext sends requests without TLS. It is refused together with TLS.
	// Default false: nothing ever falls back to plaintext.
	Plaintext bool
	// DialContext opens connections. nil: TCP with keep-alive probes that find a
	// dead idle peer in about 14 s.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	// ConnectTimeout bounds one dial and its TLS handshake. 0: 3 s.
	ConnectTimeout time.Duration
	// ResponseHeaderTimeout bounds the wait for the response's header after the
	// request was written. 0: none; the request's context bounds it.
	ResponseHeaderTimeout time.Duration
	// IdleConnTimeout closes a connection that nobody used for so long. 0: 90 s.
	IdleConnTimeout time.Duration
	// MaxIdleConnsPerEndpoint bounds the unused HTTP/1.1 connections kept to an endpoint. 0: 32.
	MaxIdleConnsPerEndpoint int
	// MaxConnsPerEndpoint bounds all connections to an endpoint; further requests wait. 0: no bound.
	MaxConnsPerEndpoint int
	// MaxResponseHeaderBytes bounds a response's header. 0: 1 MiB.
	MaxResponseHeaderBytes int64
	// WaitTimeout bounds how long a request waits for the catalog's first answer
	// or for a connection to become ready, if its context allows longer. 0: 10 s.
	WaitTimeout time.Duration
	// ReleaseAfter ends the watch and the connections of a service that had no
	// request for so long. 0: 10 min.
	ReleaseAfter time.Duration
	// MaxServices bounds the services watched at a time; requests to more fail. 0: 1024.
	MaxServices int
}

// withDefaults checks the configuration and fills in what is zero.
func (c TransportConfig) withDefaults() (TransportConfig, error) {
	switch {
	case c.Catalog == nil:
		return c, errors.New("balancer: TransportConfig.Catalog is nil; give it a resolver.Catalog")
	case c.TLS == nil && !c.Plaintext:
		return c, errors.New("balancer: TransportConfig.TLS is nil; set it, or Plaintext to send requests unencrypted")
	case c.TLS != nil && c.Plaintext:
		return c, errors.New("balancer: TransportConfig has both TLS and Plaintext; choose one")
	}
	for _, d := range []struct {
		name string
		v    *time.Duration
		def  time.Duration
	}{
		{"ConnectTimeout", &c.ConnectTimeout, 3 * time.Second},
		{"ResponseHeaderTimeout", &c.ResponseHeaderTimeout, 0},
		{"IdleConnTimeout", &c.IdleConnTimeout, 90 * time.Second},
		{"WaitTimeout", &c.WaitTimeout, 10 * time.Second},
		{"ReleaseAfter", &c.ReleaseAfter, 10 * time.Minute},
	} {
		if *d.v < 0 {
			return c, fmt.Errorf("balancer: TransportConfig.%s is %v; use 0 for %v, or more", d.name, *d.v, d.def)
		}
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	for _, n := range []struct {
		name string
		v    *int
		def  int
	}{
		{"MaxIdleConnsPerEndpoint", &c.MaxIdleConnsPerEndpoint, 32},
		{"MaxConnsPerEndpoint", &c.MaxConnsPerEndpoint, 0},
		{"MaxServices", &c.MaxServices, 1024},
	} {
		if *n.v < 0 {
			return c, fmt.Errorf("balancer: TransportConfig.%s is %d; use 0 for the default of %d, or more", n.name, *n.v, n.def)
		}
		if *n.v == 0 {
			*n.v = n.def
		}
	}
	if c.MaxResponseHeaderBytes < 0 || c.MaxResponseHeaderBytes == math.MaxInt64 {
		return c, fmt.Errorf("balancer: TransportConfig.MaxResponseHeaderBytes is %d; use 0 for 1 MiB, or a bound", c.MaxResponseHeaderBytes)
	}
	if c.MaxResponseHeaderBytes == 0 {
		c.MaxResponseHeaderBytes = 1 << 20
	}
	if c.DialContext == nil {
		c.DialContext = (&net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: 5 * time.Second, Interval: 3 * time.Second, Count: 3,
		}}).DialContext
	}
	if c.Balancer.Store == nil {
		c.Balancer.Store = &Store{}
	}
	return c, nil
}

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
	cfg TransportConfig

	mu       sync.RWMutex
	services map[string]*service
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
	return &Transport{cfg: cfg, services: map[string]*service{}}, nil
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
	s, err := t.enter(name)
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

// enter finds the service or makes it, and counts a request in.
func (t *Transport) enter(name string) (*service, error) {
	for {
		t.mu.RLock()
		s, closed := t.services[name], t.closed
		t.mu.RUnlock()
		if closed {
			return nil, ErrClosed
		}
		if s != nil && s.gate.enter() {
			return s, nil
		}
		if err := t.open(name, s); err != nil {
			return nil, err
		}
	}
}

// open replaces the released service old, or nil, by a new one.
func (t *Transport) open(name string, old *service) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return ErrClosed
	case t.services[name] != old:
		return nil // another request was faster
	case old == nil && len(t.services) >= t.cfg.MaxServices:
		return fmt.Errorf("balancer: service %q: %d services are in use, which is the limit; raise TransportConfig.MaxServices", name, len(t.services))
	}
	s, err := newService(t, name)
	if err != nil {
		return err
	}
	t.services[name] = s
	return nil
}

// forget drops a released service.
func (t *Transport) forget(s *service) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.services[s.name] == s {
		delete(t.services, s.name)
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
