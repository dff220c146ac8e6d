package mesh_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/mesh"
)

// tap forwards connections and counts those that are open.
type tap struct {
	l    net.Listener
	to   string
	wg   sync.WaitGroup
	mu   sync.Mutex
	open map[net.Conn]bool
	seen int
}

func newTap(t testing.TB, to string) *tap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{l: l, to: to, open: map[net.Conn]bool{}}
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.forward(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		for c := range p.open {
			_ = c.Close()
		}
		p.mu.Unlock()
		p.wg.Wait()
	})
	return p
}

func (p *tap) forward(c net.Conn) {
	p.mu.Lock()
	p.open[c] = true
	p.seen++
	p.mu.Unlock()
	defer func() {
		_ = c.Close()
		p.mu.Lock()
		delete(p.open, c)
		p.mu.Unlock()
	}()
	up, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer up.Close()
	back := make(chan struct{})
	go func() {
		defer close(back)
		_, _ = io.Copy(c, up)
		_ = c.Close()
	}()
	_, _ = io.Copy(up, c)
	_ = up.Close()
	<-back
}

func (p *tap) conns() (open, seen int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.open), p.seen
}

// testLeave: gRPC calls in flight end when their caller leaves, HTTP requests are
// waited for while the context lasts, calls after it fail at once, and nothing
// stays connected to Consul.
func testLeave(t *testing.T, agent *consultest.Agent) {
	for name, patient := range map[string]bool{"patient": true, "in a hurry": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			service := "slow-" + name[:2]
			in := newInstance(t, "slow", at(agent, service))
			in.gate = make(chan struct{})
			in.serve(t)
			open := sync.OnceFunc(func() { close(in.gate) })
			t.Cleanup(open)
			cfg := at(agent, "hasty")
			consul := newTap(t, agent.HTTPAddr())
			cfg.Clouds[0].Address = consul.l.Addr().String()
			m := join(t, cfg)
			all := calls(t, m, service)
			ended := map[string]chan error{}
			for kind, c := range all {
				end := make(chan error, 1)
				ended[kind] = end
				go func() {
					_, err := c(context.Background())
					end <- err
				}()
			}
			until(t, "the calls are in flight", func() bool { return in.handled.Load() == 2 })
			if n, _ := consul.conns(); n == 0 {
				t.Error("no connection to Consul before Leave: the test sees nothing")
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			left := make(chan error, 1)
			go func() { left <- m.Leave(ctx) }()
			if err := <-ended["gRPC"]; status.Code(err) != codes.Canceled {
				t.Errorf("the gRPC call in flight: %v, want it canceled", err)
			}
			if patient {
				open()
			} else {
				cancel()
			}
			if err := <-ended["HTTP"]; (err == nil) != patient {
				t.Errorf("the HTTP request in flight: %v", err)
			}
			if err := <-left; patient && err != nil || !patient && !errors.Is(err, context.Canceled) {
				t.Errorf("Leave: %v", err)
			}
			afterLeave(t, m, consul, service, all)
		})
	}
}

func afterLeave(t *testing.T, m *mesh.Mesh, consul *tap, service string, all map[string]call) {
	t.Helper()
	until(t, "no connection to Consul is left", func() bool { n, _ := consul.conns(); return n == 0 })
	_, before := consul.conns()
	for kind, c := range all {
		if _, err := c(t.Context()); err == nil {
			t.Errorf("a %s call after Leave succeeded", kind)
		}
	}
	if _, err := m.Dial(service); !errors.Is(err, mesh.ErrLeft) {
		t.Errorf("Dial after Leave: %v, want ErrLeft", err)
	}
	if _, after := consul.conns(); after != before {
		t.Errorf("%d connections to Consul were made after Leave", after-before)
	}
}
