package main

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// forwarder stands before an endpoint and does to its callers what a network does.
// It needs no privileges.
type forwarder struct {
	l  *net.TCPListener
	to string
	wg sync.WaitGroup

	mu     sync.Mutex
	state  chan struct{} // closed and replaced with what follows
	silent bool
	delay  time.Duration
	closed bool
	conns  map[net.Conn]struct{}
}

// forward listens on a port of its own; to is set before anybody connects.
func forward() (*forwarder, error) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	f := &forwarder{l: l, state: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	f.wg.Go(f.accept)
	return f, nil
}

func (f *forwarder) addr() string { return f.l.Addr().String() }

func (f *forwarder) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	close(f.state)
	f.state = make(chan struct{})
}

// slow delays what passes, each way.
func (f *forwarder) slow(d time.Duration) { f.set(func() { f.delay = d }) }

// vanish makes a black hole of the address: what is under way stays so, and
// nothing is accepted; when the kernel's queue is full, it drops further SYNs. The
// kernel still acknowledges what is sent on established connections, so that no
// caller learns from TCP that nobody is there.
func (f *forwarder) vanish() error {
	f.set(func() { f.silent = true })
	if err := f.backlog(0); err != nil {
		return err
	}
	for range 8 {
		c, err := net.DialTimeout("tcp", f.addr(), 100*time.Millisecond)
		if err != nil {
			return nil // the queue is full
		}
		f.keep(c)
	}
	return errors.New("the kernel goes on accepting connections for a listener with a full queue")
}

// appear ends vanish.
func (f *forwarder) appear() error {
	f.set(func() { f.silent = false })
	return f.backlog(128)
}

func (f *forwarder) backlog(n int) error {
	raw, err := f.l.SyscallConn()
	if err != nil {
		return err
	}
	return errors.Join(raw.Control(func(fd uintptr) { err = syscall.Listen(int(fd), n) }), err)
}

// await waits while nothing comes through; false: the forwarder is closed.
func (f *forwarder) await() (time.Duration, bool) {
	for {
		f.mu.Lock()
		silent, delay, closed, state := f.silent, f.delay, f.closed, f.state
		f.mu.Unlock()
		if closed || !silent {
			return delay, !closed
		}
		<-state
	}
}

func (f *forwarder) keep(c net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		_ = c.Close()
		return false
	}
	f.conns[c] = struct{}{}
	return true
}

func (f *forwarder) drop(c net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, c)
	_ = c.Close()
}

func (f *forwarder) accept() {
	for {
		if _, ok := f.await(); !ok {
			return
		}
		if err := f.l.SetDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
			return // closed
		}
		c, err := f.l.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || !f.keep(c) {
			continue
		}
		if _, ok := f.await(); !ok {
			return
		}
		up, err := (&net.Dialer{Timeout: time.Second}).DialContext(context.Background(), "tcp", f.to)
		if err != nil || !f.keep(up) {
			_ = c.SetLinger(0) // refused, as far as this can be said late
			f.drop(c)
			continue
		}
		f.wg.Go(func() { f.copy(up, c) })
		f.wg.Go(func() { f.copy(c, up) })
	}
}

// parcel is what arrives at a time.
type parcel struct {
	at time.Time
	b  []byte
}

// copy passes on what from sends, in order and late, until one of both ends.
func (f *forwarder) copy(to, from net.Conn) {
	way := make(chan parcel, 1024)
	f.wg.Go(func() {
		defer f.drop(to)
		for p := range way {
			if d := time.Until(p.at); d > 0 {
				time.Sleep(d)
			}
			if _, ok := f.await(); !ok {
				continue
			}
			if _, err := to.Write(p.b); err != nil {
				f.drop(from)
			}
		}
	})
	defer close(way)
	for {
		b := make([]byte, 32<<10)
		n, err := from.Read(b)
		delay, ok := f.await()
		if !ok {
			return
		}
		if n > 0 {
			way <- parcel{time.Now().Add(delay), b[:n]}
		}
		if err != nil {
			f.drop(from)
			return
		}
	}
}

func (f *forwarder) close() {
	f.set(func() { f.closed = true })
	f.mu.Lock()
	for c := range f.conns {
		_ = c.Close()
	}
	f.mu.Unlock()
	_ = f.l.Close()
	f.wg.Wait()
}
