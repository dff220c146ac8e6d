package balancer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

// TransportConfig says how a Transport finds and reaches endpoints. Catalog, and
// either TLS or Plaintext, are required; every other zero value is a safe default.
type TransportConfig struct {
	// Catalog knows the endpoints. nil is refused.
	Catalog resolver.Catalog
	// Balancer says how endpoints are chosen. The zero value is a safe default; a
	// nil Store is replaced by one that all services of the Transport share.
	Balancer Config
	// BalancerFor gives a service a Config of its own. Only its ConnectTimeout may change: it
	// is asked for it again on each connection. nil: Balancer for all.
	BalancerFor func(service string) Config
	// LaneFor gives the Config of a lane of a service, for requests whose Call names
	// one; false: there is no such lane, and the request fails. ConnectTimeout may change as
	// that of BalancerFor. nil: there are none.
	LaneFor func(service, lane string) (Config, bool)
	// TLS is the client configuration for an endpoint: it must accept the identity
	// that is expected of that endpoint and no other. It is asked on each
	// connection; NextProtos is set by the Transport. nil is refused unless Plaintext.
	TLS func(*resolver.Endpoint) (*tls.Config, error)
	// TLSClient makes the TLS end of a connection. nil: tls.Client.
	TLSClient func(net.Conn, *tls.Config) *tls.Conn
	// Plaintext sends requests without TLS. It is refused together with TLS.
	// Default false: nothing ever falls back to plaintext.
	Plaintext bool
	// DialContext opens connections. nil: TCP with keep-alive probes that find a
	// dead idle peer in about 14 s.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	// ConnectTimeout bounds one dial and its TLS handshake. 0: 3 s.
	ConnectTimeout time.Duration
	// ResponseHeaderTimeout bounds the wait for the response's header after the
	// request was written; with it, small requests have no connections of their own.
	// 0: none; the request's context bounds it.
	ResponseHeaderTimeout time.Duration
	// IdleConnTimeout closes a connection that nobody used for so long. 0: 90 s.
	IdleConnTimeout time.Duration
	// MaxIdleConnsPerEndpoint bounds the unused HTTP/1.1 connections kept to an endpoint:
	// those for small requests, and those for all others. 0: 32 of each.
	MaxIdleConnsPerEndpoint int
	// MaxConnsPerEndpoint bounds all connections to an endpoint; further requests wait, and
	// small ones have no connections of their own. 0: no bound.
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
	if c.TLSClient == nil {
		c.TLSClient = tls.Client
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
