// Package virtual is what the benchmarks in virtual time share: a network in
// memory, and a way to have such time in a program.
package virtual

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"testing"

	"google.golang.org/grpc/test/bufconn"
)

// Main runs a benchmark that calls testing/synctest, which is to be had inside of
// a test only, and ends the process.
func Main(name string, run func(*testing.T) error) {
	all := func(string, string) (bool, error) { return true, nil }
	testing.Main(all, []testing.InternalTest{{Name: name, F: func(t *testing.T) {
		if err := run(t); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			os.Exit(1)
		}
		os.Exit(0) // without the words of a test
	}}}, nil, nil)
}

// Net is a network in memory. The zero value is ready to use.
type Net struct {
	mu        sync.Mutex
	listeners map[string]*listener
	addrs     []string
}

// listener has an address as others have.
type listener struct {
	*bufconn.Listener
	addr net.Addr
}

func (l *listener) Addr() net.Addr { return l.addr }

// Listen makes a listener with a port of its own: the mesh names instances by it.
func (n *Net) Listen() net.Listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners == nil {
		n.listeners = map[string]*listener{}
	}
	l := &listener{bufconn.Listen(64 << 10), &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 81 + len(n.addrs)}}
	n.listeners[l.addr.String()] = l
	n.addrs = append(n.addrs, l.addr.String())
	return l
}

// Addrs are the addresses of all listeners so far, in order.
func (n *Net) Addrs() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.addrs[:len(n.addrs):len(n.addrs)]
}

// Dial is for grpc.WithContextDialer.
func (n *Net) Dial(ctx context.Context, addr string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[addr]
	n.mu.Unlock()
	if l == nil {
		return nil, fmt.Errorf("nobody listens at %s", addr)
	}
	return l.DialContext(ctx)
}
