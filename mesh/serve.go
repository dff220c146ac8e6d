package mesh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

// Serve announces this process in the catalog and serves on l until ctx ends,
// then drains: health to NOT_SERVING, out of the catalog, one propagation of
// serving on, no new calls, calls in flight finish within DrainTimeout, close.
// It returns nil after a drain, or why serving or announcing failed.
//
// srv is a *grpc.Server of NewGRPCServer or an *http.Server of NewHTTPServer.
// Serve closes l. One process may serve several listeners.
func (m *Mesh) Serve(ctx context.Context, srv any, l net.Listener) error {
	s, err := m.serverOf(srv)
	if err == nil {
		err = m.serve(ctx, s, l)
	}
	_ = l.Close()
	if err != nil {
		return &Error{Op: "serve", Service: m.cfg.Service, Err: err}
	}
	return nil
}

// server is what serving needs of a gRPC or an HTTP server.
type server struct {
	protocol string
	serve    func(net.Listener) error // returns nil after drain or cut
	ready    func(bool)
	drain    func(context.Context) error // waits for calls in flight
	cut      func()
}

func (m *Mesh) serve(ctx context.Context, s *server, l net.Listener) error {
	in, err := m.instance(l.Addr(), s.protocol)
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- s.serve(l) }()
	s.ready(true)
	deregister := func(context.Context) error { return nil }
	if m.registrar != nil {
		if deregister, err = m.registrar.Register(ctx, in); err != nil {
			s.cut()
			<-served
			if ctx.Err() != nil { // asked to end before the announcement was through
				return nil
			}
			return fmt.Errorf("mesh: cannot announce %s at %s: %w", in.Service, net.JoinHostPort(in.Host, strconv.Itoa(in.Port)), err)
		}
	}
	m.log.Info("mesh.serving", "service", in.Service, "protocol", s.protocol, "addr", l.Addr().String())
	select {
	case err = <-served: // the listener failed
		return errors.Join(err, m.drain(context.WithoutCancel(ctx), s, deregister))
	case <-ctx.Done():
	}
	// Without the context's end, with its values.
	err = m.drain(context.WithoutCancel(ctx), s, deregister)
	return errors.Join(err, <-served)
}

// drain leaves the catalog first and stops serving after, so that no caller is
// turned away by a server that the catalog still names.
func (m *Mesh) drain(ctx context.Context, s *server, deregister func(context.Context) error) error {
	s.ready(false)
	m.deregister(ctx, deregister)
	if m.cfg.Propagation > 0 {
		time.Sleep(m.cfg.Propagation)
	}
	if m.cfg.DrainTimeout < 0 {
		s.cut()
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, m.cfg.DrainTimeout)
	defer cancel()
	if err := s.drain(ctx); err != nil {
		m.log.Warn("mesh.drain_timeout", "service", m.cfg.Service, "timeout", m.cfg.DrainTimeout)
	}
	return nil
}

func (m *Mesh) deregister(ctx context.Context, f func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := f(ctx); err != nil {
		// The check of the registration turns critical by itself.
		m.log.Warn("mesh.deregister_failed", "service", m.cfg.Service, "error", err)
	}
}

// instance is the announcement of a listener.
func (m *Mesh) instance(addr net.Addr, protocol string) (resolver.Instance, error) {
	host, port, err := m.advertised(addr)
	if err != nil {
		return resolver.Instance{}, err
	}
	return resolver.Instance{
		Service:  m.cfg.Service,
		ID:       m.cfg.InstanceID,
		Host:     host,
		Port:     port,
		Locality: m.cfg.Locality,
		Protocol: protocol,
		Weight:   m.cfg.Weight,
		Tags:     m.cfg.Tags,
		Metadata: m.cfg.Metadata,
	}, nil
}

// advertised is the address that others reach a listener at.
func (m *Mesh) advertised(addr net.Addr) (string, int, error) {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return "", 0, fmt.Errorf("mesh: cannot announce a listener on %s %s; others reach members over TCP", addr.Network(), addr)
	}
	host, port := tcp.IP.String(), tcp.Port
	if a := m.cfg.Advertise; a != "" {
		h, p, err := net.SplitHostPort(a)
		if err != nil {
			return a, port, nil // a host alone
		}
		n, err := strconv.Atoi(p)
		if err != nil || n < 1 || n > 65535 {
			return "", 0, fmt.Errorf("mesh: Config.Advertise (or WEFT_ADVERTISE) %q: port is not in 1..65535", a)
		}
		return h, n, nil
	}
	if !tcp.IP.IsUnspecified() {
		return host, port, nil
	}
	ip, err := outboundIP()
	if err != nil {
		return "", 0, fmt.Errorf("mesh: the listener is on all interfaces and none has an address that others could use: %w; set Config.Advertise or WEFT_ADVERTISE", err)
	}
	return ip.String(), port, nil
}

// outboundIP is the first address of an interface that is up and not loopback.
func outboundIP() (net.IP, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			return n.IP, nil
		}
	}
	return nil, errors.New("no interface but loopback is up")
}
