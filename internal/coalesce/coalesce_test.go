package coalesce

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// gated is one end of a pipe that counts the writes which reach it.
type gated struct {
	net.Conn
	mu     sync.Mutex
	writes [][]byte
	closed int
}

func (g *gated) Write(p []byte) (int, error) {
	g.mu.Lock()
	g.writes = append(g.writes, slices.Clone(p))
	g.mu.Unlock()
	return g.Conn.Write(p)
}

func (g *gated) Close() error {
	g.mu.Lock()
	g.closed++
	g.mu.Unlock()
	return g.Conn.Close()
}

// pair is a Conn that collects, what it was made of, and its peer, in a bubble.
func pair(t *testing.T) (*Conn, *gated, net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	g := &gated{Conn: near}
	c := New(g, &Buffers{})
	c.Collect()
	t.Cleanup(func() { _ = far.Close(); _ = near.Close() })
	return c, g, far
}

func send(t *testing.T, c net.Conn, texts ...string) {
	t.Helper()
	for _, s := range texts {
		if n, err := c.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatalf("Write(%.20q) = %d, %v", s, n, err)
		}
	}
}

func TestWritesAddUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, g, far := pair(t)
		send(t, c, "a")
		synctest.Wait() // the first one is on its way, and nobody reads it
		send(t, c, "b", "c", "d")
		got := make([]byte, 4)
		if _, err := io.ReadFull(far, got); err != nil || string(got) != "abcd" {
			t.Fatalf("%q, %v", got, err)
		}
		synctest.Wait()
		if len(g.writes) != 2 || string(g.writes[1]) != "bcd" {
			t.Errorf("%q were sent", g.writes)
		}
		if c.pending != nil || c.running {
			t.Error("an idle connection keeps a buffer or a goroutine")
		}
	})
}

func TestWritesThroughBeforeCollect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		c := New(near, &Buffers{})
		done := make(chan error)
		go func() { _, err := c.Write([]byte("x")); done <- err }()
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("a write was taken before Collect")
		default:
		}
		if _, err := far.Read(make([]byte, 1)); err != nil || <-done != nil {
			t.Error(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Writes of many goroutines stay whole, and each goroutine's in order.
func TestManyWriters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _, far := pair(t)
		const writers, each = 8, 200
		for w := range writers {
			go func() {
				for i := range each {
					line := strings.Repeat(string(rune('a'+w)), 1+i) + "\n"
					if _, err := c.Write([]byte(line)); err != nil {
						t.Error(err)
					}
				}
			}()
		}
		var all bytes.Buffer
		go func() { _, _ = io.Copy(&all, far) }() // ends with the pipe
		synctest.Wait()
		_ = c.Close()
		_ = far.Close()
		synctest.Wait()
		next := map[byte]int{}
		for line := range strings.Lines(all.String()) {
			who := line[0]
			if next[who]++; line != strings.Repeat(string(who), next[who])+"\n" {
				t.Fatalf("line %d of %c is %q", next[who], who, line)
			}
		}
		for w := range writers {
			if next[byte('a'+w)] != each {
				t.Errorf("%d lines of %c", next[byte('a'+w)], 'a'+w)
			}
		}
	})
}

// fill writes until writes wait.
func fill(t *testing.T, c *Conn) (waiting <-chan error) {
	t.Helper()
	send(t, c, "first")
	synctest.Wait()
	send(t, c, strings.Repeat("x", maxPending))
	done := make(chan error, 1)
	go func() { _, err := c.Write([]byte("last")); done <- err }()
	synctest.Wait()
	select {
	case err := <-done:
		t.Fatalf("a write over the bound was taken: %v", err)
	default:
	}
	return done
}

func TestBoundOfWhatIsPending(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		do   func(c *Conn, far net.Conn)
		want error
	}{
		{"read", func(_ *Conn, far net.Conn) { go func() { _, _ = io.Copy(io.Discard, far) }() }, nil},
		{"closed", func(c *Conn, _ net.Conn) { _ = c.Close() }, net.ErrClosed},
		{"deadline passed", func(c *Conn, _ net.Conn) { _ = c.SetWriteDeadline(time.Now()) }, os.ErrDeadlineExceeded},
		{"deadline passes", func(c *Conn, _ net.Conn) { _ = c.SetWriteDeadline(time.Now().Add(time.Minute)) }, os.ErrDeadlineExceeded},
		{"peer gone", func(_ *Conn, far net.Conn) { _ = far.Close() }, io.ErrClosedPipe},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, _, far := pair(t)
				waiting := fill(t, c)
				tc.do(c, far)
				if err := <-waiting; !errors.Is(err, tc.want) {
					t.Errorf("%v, not %v", err, tc.want)
				}
				_ = c.Close()
				_ = c.Close()
				_ = far.Close()
			})
		})
	}
}

func TestErrorsAreToldToAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, g, far := pair(t)
		read := make(chan error)
		go func() { _, err := c.Read(make([]byte, 1)); read <- err }()
		if err := c.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		send(t, c, "nobody reads this")
		if err := <-read; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("reading: %v", err)
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("writing: %v", err)
		}
		if g.closed != 1 {
			t.Errorf("closed %d times", g.closed)
		}
		_ = far.Close()
	})
}

func TestCloseSendsWhatIsLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, g, far := pair(t)
		read := make(chan error, 1)
		go func() { _, err := c.Read(make([]byte, 1)); read <- err }()
		send(t, c, "a")
		synctest.Wait()
		send(t, c, "b")
		// As crypto/tls does behind its last alert.
		if err := c.SetWriteDeadline(time.Now()); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a late write: %v", err)
		}
		start := time.Now()
		if err := c.Close(); err != nil || time.Since(start) != 0 {
			t.Errorf("Close = %v after %v", err, time.Since(start))
		}
		if err := <-read; !errors.Is(err, net.ErrClosed) {
			t.Errorf("reading: %v", err)
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a write after Close: %v", err)
		}
		got, err := io.ReadAll(far)
		if string(got) != "ab" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		if g.closed != 1 {
			t.Errorf("closed %d times", g.closed)
		}
	})
}

func TestCloseOfAStuckConnection(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		times int
		after time.Duration
	}{{1, grace}, {2, 0}} {
		synctest.Test(t, func(t *testing.T) {
			c, g, _ := pair(t)
			send(t, c, "nobody reads this")
			synctest.Wait()
			start := time.Now()
			for range tc.times {
				_ = c.Close()
			}
			for {
				synctest.Wait()
				c.mu.Lock()
				running := c.running
				c.mu.Unlock()
				if !running {
					break
				}
				time.Sleep(time.Millisecond)
			}
			if took := time.Since(start); took.Round(10*time.Millisecond) != tc.after || g.closed == 0 {
				t.Errorf("closed %d times: sending ended after %v, not %v", tc.times, took, tc.after)
			}
		})
	}
}

func TestOf(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	defer far.Close()
	c := New(near, &Buffers{})
	defer c.Close()
	for _, tc := range []struct {
		name string
		in   net.Conn
		want *Conn
	}{
		{"itself", c, c},
		{"another", near, nil},
		{"nil", nil, nil},
	} {
		if got := Of(tc.in); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
	if c.NetConn() != near || !c.Decide() || c.Decide() {
		t.Error("NetConn or Decide")
	}
}
