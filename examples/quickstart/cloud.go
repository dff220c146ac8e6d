package main

import (
	"context"
	"fmt"
	"net"
	"sync"

	"github.com/weft-mesh/weft/examples/internal/demo"
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resolver"
)

// cloud is one cloud of the scene: two services, two instances each.
type cloud struct {
	name     string
	embedded *mesh.Embedded
	addrs    map[string][]string // by service; a restarted cloud comes back where it was

	kill func()
	done sync.WaitGroup
}

const instances = 2

// start runs the cloud's services until it is killed.
func (c *cloud) start(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	var crash []*crashListener
	c.kill = func() {
		for _, l := range crash {
			l.crash()
		}
		stop()
		c.done.Wait()
	}
	for _, service := range demo.Services {
		for i := range instances {
			addr := "127.0.0.1:0"
			if old := c.addrs[service]; i < len(old) {
				addr = old[i]
			}
			l, err := net.Listen("tcp", addr)
			if err != nil && i < len(c.addrs[service]) { // somebody else has that port by now
				addr, c.addrs[service] = "127.0.0.1:0", c.addrs[service][:i]
				l, err = net.Listen("tcp", addr)
			}
			if err != nil {
				return err
			}
			cl := &crashListener{Listener: l, conns: map[net.Conn]bool{}}
			crash = append(crash, cl)
			if addr == "127.0.0.1:0" {
				c.addrs[service] = append(c.addrs[service], l.Addr().String())
			}
			if err := c.serve(ctx, service, i, cl); err != nil {
				return err
			}
		}
	}
	return nil
}

// serve runs one instance: this is all that a service does to be a member.
func (c *cloud) serve(ctx context.Context, service string, i int, l net.Listener) error {
	m, err := mesh.Join(ctx, mesh.Config{
		Service:    service,
		InstanceID: fmt.Sprintf("%s-%s-%d", service, c.name, i),
		Locality:   resolver.Locality{Cloud: c.name, Region: c.name + "-region-1"},
		Embedded:   c.embedded,
		Registrar:  crashing{c.embedded.Catalog},
	})
	if err != nil {
		return err
	}
	srv, err := demo.Server(m, service, c.name)
	if err != nil {
		return err
	}
	c.done.Go(func() {
		_ = m.Serve(ctx, srv, l) // ends with an error when the cloud crashes
		_ = m.Leave(context.Background())
	})
	return nil
}

// crashing registers, and never deregisters: a cloud that dies says no goodbye,
// so the catalog goes on naming its instances.
type crashing struct{ resolver.Registrar }

func (c crashing) Register(ctx context.Context, in resolver.Instance) (func(context.Context) error, error) {
	_, err := c.Registrar.Register(ctx, in)
	return func(context.Context) error { return nil }, err
}

// crashListener can cut everything it accepted, as the end of a machine does.
type crashListener struct {
	net.Listener
	mu    sync.Mutex
	conns map[net.Conn]bool
	dead  bool
}

func (l *crashListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		c.Close()
		return nil, net.ErrClosed
	}
	l.conns[c] = true
	return c, nil
}

func (l *crashListener) crash() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
	l.Listener.Close()
	for c := range l.conns {
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetLinger(0) // a reset, not a goodbye
		}
		c.Close()
	}
}
