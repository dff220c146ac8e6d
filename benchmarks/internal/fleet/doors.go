package fleet

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
)

// Doors lead to one address from many: an agent takes 200 connections of a client
// address, and members of one process share theirs. Each door passes connections
// on from a loopback address of its own.
type Doors struct {
	to    string
	mu    sync.Mutex
	doors []net.Listener
	conns map[net.Conn]bool
	ended bool
	wg    sync.WaitGroup
}

// perDoor leaves room below the agent's bound: a member has several connections.
const perDoor = 20

// NewDoors makes doors for so many members.
func NewDoors(to string, members int) (*Doors, error) {
	d := &Doors{to: to, conns: map[net.Conn]bool{}}
	for i := range (members + perDoor - 1) / perDoor {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, errors.Join(err, d.Close())
		}
		d.doors = append(d.doors, l)
		from := &net.TCPAddr{IP: net.IPv4(127, 0, byte(1+i/250), byte(1+i%250))}
		d.wg.Go(func() { d.pass(l, &net.Dialer{LocalAddr: from}) })
	}
	return d, nil
}

// Addr is the door of a member.
func (d *Doors) Addr(member int) string { return d.doors[member/perDoor].Addr().String() }

func (d *Doors) pass(l net.Listener, dialer *net.Dialer) {
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		d.wg.Go(func() {
			defer in.Close()
			out, err := dialer.DialContext(context.Background(), "tcp", d.to)
			if err != nil {
				return // the member sees that its connection ended
			}
			defer out.Close()
			if !d.hold(in, out) {
				return
			}
			defer d.drop(in, out)
			var half sync.WaitGroup
			half.Go(func() { _, _ = io.Copy(out, in); out.Close() })
			_, _ = io.Copy(in, out)
			in.Close()
			half.Wait()
		})
	}
}

func (d *Doors) hold(conns ...net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range conns {
		d.conns[c] = true
	}
	return !d.ended
}

func (d *Doors) drop(conns ...net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range conns {
		delete(d.conns, c)
	}
}

// Close closes all connections.
func (d *Doors) Close() (err error) {
	d.mu.Lock()
	d.ended = true
	for _, l := range d.doors {
		err = errors.Join(err, l.Close())
	}
	for c := range d.conns {
		c.Close()
	}
	d.mu.Unlock()
	d.wg.Wait()
	return err
}
