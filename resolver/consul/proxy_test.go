package consul

import (
	"io"
	"net"
	"sync"
	"testing"
)

// link forwards connections to an agent; a test can cut it.
type link struct {
	listener net.Listener
	to       string
	wg       sync.WaitGroup

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]struct{}
	peak  int // most client connections at a time
}

func newLink(t testing.TB, to string) *link {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &link{listener: l, to: to, conns: map[net.Conn]struct{}{}}
	k.wg.Go(k.serve)
	t.Cleanup(func() {
		l.Close()
		k.set(true)
		k.wg.Wait()
	})
	return k
}

func (k *link) addr() string { return k.listener.Addr().String() }

// set cuts the link, and every connection of it, or mends it.
func (k *link) set(cut bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cut = cut
	if cut {
		for c := range k.conns {
			c.Close()
		}
	}
}

func (k *link) open() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.conns)
}

func (k *link) serve() {
	for {
		c, err := k.listener.Accept()
		if err != nil {
			return
		}
		k.mu.Lock()
		if k.cut {
			c.Close()
		} else {
			k.conns[c] = struct{}{}
			k.peak = max(k.peak, len(k.conns))
			k.wg.Go(func() { k.forward(c) })
		}
		k.mu.Unlock()
	}
}

func (k *link) forward(c net.Conn) {
	defer func() {
		c.Close()
		k.mu.Lock()
		delete(k.conns, c)
		k.mu.Unlock()
	}()
	up, err := net.Dial("tcp", k.to)
	if err != nil {
		return
	}
	defer up.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(c, up)
		c.Close()
	}()
	_, _ = io.Copy(up, c)
	up.Close()
	<-done
}

func (k *link) highest() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.peak
}
