package drill

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// echoNet is a network with an echo at the host "far".
type echoNet struct {
	*Net
	addr string
	l    *Listener
}

func newEcho(t *testing.T) *echoNet {
	t.Helper()
	n := NewNet(1, func(string, string) time.Duration { return 10 * ms })
	l, err := n.Listen("far", &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 81})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	return &echoNet{n, l.Addr().String(), l}
}

func (n *echoNet) dial(t *testing.T) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	return n.Dialer("near")(ctx, "tcp", n.addr)
}

// ask sends a byte and reads it back within d.
func ask(c net.Conn, d time.Duration) error {
	if err := c.SetDeadline(time.Now().Add(d)); err != nil {
		return err
	}
	if _, err := c.Write([]byte{7}); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

func TestNetFaults(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name        string
		does        func(n *Net)
		old, fresh  error // of a connection from before, and of a new one's making or use
		heals, open bool  // the old connection goes on afterwards; a new one can be made
	}{
		{"nothing", func(*Net) {}, nil, nil, true, true},
		{"black hole", func(n *Net) { n.Break("far", BlackHole) }, os.ErrDeadlineExceeded, context.DeadlineExceeded, true, false},
		{"deaf", func(n *Net) { n.Break("far", Deaf) }, os.ErrDeadlineExceeded, context.DeadlineExceeded, true, false},
		{"frozen", func(n *Net) { n.Break("far", Frozen) }, os.ErrDeadlineExceeded, os.ErrDeadlineExceeded, true, true},
		{"killed", func(n *Net) { n.Kill("far") }, syscall.ECONNRESET, syscall.ECONNREFUSED, false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := newEcho(t)
				old, err := n.dial(t)
				if err != nil || ask(old, time.Second) != nil {
					t.Fatal(err, "before the fault")
				}
				tc.does(n.Net)
				if err := ask(old, time.Second); !errors.Is(err, tc.old) {
					t.Errorf("old connection: %v, want %v", err, tc.old)
				}
				fresh, err := n.dial(t)
				if (err == nil) != tc.open {
					t.Errorf("dial: %v", err)
				}
				if err == nil {
					err = ask(fresh, time.Second)
				}
				if !errors.Is(err, tc.fresh) {
					t.Errorf("new connection: %v, want %v", err, tc.fresh)
				}
				n.Break("far", 0)
				_ = old.SetDeadline(time.Time{})
				if err := ask(old, time.Second); (err == nil) != tc.heals {
					t.Errorf("old connection afterwards: %v", err)
				}
				again, err := n.dial(t)
				if err != nil || ask(again, time.Second) != nil {
					t.Errorf("new connection afterwards: %v", err)
				}
				for _, c := range []net.Conn{old, fresh, again} {
					if c != nil {
						_ = c.Close()
					}
				}
				_ = n.l.Close()
				time.Sleep(time.Second)
				synctest.Wait()
				if got := n.Open(); got != 0 {
					t.Errorf("%d ends are open", got)
				}
			})
		})
	}
}

// A deaf host hears: what it was sent it has got, though nobody knows.
func TestDeafHostHears(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := NewNet(1, func(string, string) time.Duration { return 10 * ms })
		l, err := n.Listen("far", &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 81})
		if err != nil {
			t.Fatal(err)
		}
		c, err := n.Dialer("near")(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		far, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		n.Break("far", Deaf)
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 5)
		if _, err := io.ReadFull(far, got); err != nil || string(got) != "hello" {
			t.Errorf("%q, %v", got, err)
		}
		_ = c.Close()
		_ = far.Close()
		_ = l.Close()
	})
}

func TestNetLatency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newEcho(t)
		c, err := n.dial(t)
		if err != nil {
			t.Fatal(err)
		}
		took := func() time.Duration {
			from := time.Now()
			if err := ask(c, time.Second); err != nil {
				t.Error(err)
			}
			return time.Since(from)
		}
		if d := took(); d < 20*ms || d > 22*ms {
			t.Errorf("%v for 10 ms each way", d)
		}
		n.Slow("far", 100*ms)
		if d := took(); d < 220*ms || d > 222*ms {
			t.Errorf("%v for 110 ms each way", d)
		}
		_ = c.Close()
		_ = n.l.Close()
	})
}
