package main

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// fault is what becomes of a cloud.
type fault int

const (
	refused   fault = iota // killed: connections reset, new ones refused
	blackHole              // connections go silent, new ones get no answer at all
)

// listener can do to its clients what the end of a machine, or of the network to
// it, does.
type listener struct {
	*net.TCPListener
	silent atomic.Bool

	mu    sync.Mutex
	dead  bool
	ended chan struct{} // closed with dead
	conns []*conn
}

func listen() (*listener, error) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	return &listener{TCPListener: l, ended: make(chan struct{})}, nil
}

func (l *listener) Accept() (net.Conn, error) {
	tcp, err := l.AcceptTCP()
	if l.silent.Load() {
		if err == nil {
			l.keep(tcp) // never answered
		}
		<-l.ended
		return nil, net.ErrClosed
	}
	if err != nil {
		return nil, err
	}
	return l.keep(tcp), nil
}

func (l *listener) keep(tcp *net.TCPConn) *conn {
	c := &conn{TCPConn: tcp, l: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		tcp.Close()
	}
	l.conns = append(l.conns, c)
	return c
}

// Close is the end: what is connected is reset, what would connect is refused.
func (l *listener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return nil
	}
	l.dead = true
	close(l.ended)
	for _, c := range l.conns {
		_ = c.SetLinger(0) // a reset, not a goodbye
		_ = c.TCPConn.Close()
	}
	return l.TCPListener.Close()
}

// vanish makes a black hole of the address, without privileges: nothing is
// accepted, and when the kernel's queue is full, it drops further SYNs. The kernel
// still acknowledges what established connections send, so that no client learns
// from TCP that its peer is gone; a real black hole is a little easier to find.
func (l *listener) vanish() error {
	l.silent.Store(true)
	if err := l.SetDeadline(time.Now()); err != nil { // ends an Accept under way
		return err
	}
	raw, err := l.SyscallConn()
	if err != nil {
		return err
	}
	if err := errors.Join(raw.Control(func(fd uintptr) { err = syscall.Listen(int(fd), 0) }), err); err != nil {
		return err
	}
	for range 8 {
		c, err := net.DialTimeout("tcp", l.Addr().String(), 50*time.Millisecond)
		if err != nil {
			return nil // the queue is full
		}
		go func() { <-l.ended; c.Close() }()
	}
	return errors.New("outage: the kernel goes on accepting connections for a listener with a full queue")
}

// conn falls silent with its listener.
type conn struct {
	*net.TCPConn
	l *listener
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	if c.l.silent.Load() {
		<-c.l.ended
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *conn) Write(b []byte) (int, error) {
	if c.l.silent.Load() {
		return len(b), nil
	}
	return c.TCPConn.Write(b)
}
