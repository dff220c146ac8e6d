package balancer

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// pipeNet is a network of HTTP servers in memory, for bubbles of fake time.
type pipeNet struct {
	mu    sync.Mutex
	conns map[string]chan net.Conn
	deaf  map[string]bool
}

func newPipeNet(t *testing.T, addrs ...string) *pipeNet {
	n := &pipeNet{conns: map[string]chan net.Conn{}, deaf: map[string]bool{}}
	for _, addr := range addrs {
		l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
		n.conns[addr] = l.conns
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				_, _ = io.WriteString(w, "begin ")
				w.(http.Flusher).Flush()
				select {
				case <-time.After(time.Minute):
				case <-r.Context().Done():
				}
			}
			_, _ = io.WriteString(w, addr)
		})}
		srv.Protocols = new(http.Protocols)
		srv.Protocols.SetHTTP1(true)
		srv.Protocols.SetUnencryptedHTTP2(true)
		done := make(chan struct{})
		go func() { defer close(done); _ = srv.Serve(l) }()
		t.Cleanup(func() { _ = srv.Close(); <-done })
	}
	return n
}

func (n *pipeNet) swallow(addr string, deaf bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.deaf[addr] = deaf
}

func (n *pipeNet) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	n.mu.Lock()
	deaf := n.deaf[addr]
	n.mu.Unlock()
	if deaf {
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: ctx.Err()}
	}
	a, b := net.Pipe()
	select {
	case n.conns[addr] <- b:
		return a, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 80} }
