package coalesce

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"
)

// scripted is a connection whose reads are given; the last one comes with an error.
type scripted struct {
	net.Conn
	chunks [][]byte
	reads  int
}

var errOver = errors.New("over")

func (s *scripted) Read(p []byte) (int, error) {
	s.reads++
	if len(s.chunks) == 0 {
		return 0, errOver
	}
	n := copy(p, s.chunks[0])
	if s.chunks[0] = s.chunks[0][n:]; len(s.chunks[0]) > 0 {
		return n, nil
	}
	if s.chunks = s.chunks[1:]; len(s.chunks) == 0 {
		return n, errOver
	}
	return n, nil
}

// All bytes come, in order and once, and the error after them, whatever the sizes.
func TestReadAhead(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 1))
		var want []byte
		s := &scripted{}
		for range 1 + r.IntN(80) {
			chunk := make([]byte, 1+r.IntN([]int{10, 1000, 40_000}[r.IntN(3)]))
			for i := range chunk {
				chunk[i] = byte(len(want) + 7*i>>4)
			}
			want = append(want, chunk...)
			s.chunks = append(s.chunks, chunk)
		}
		c := New(s, &Buffers{})
		c.Collect()
		var got []byte
		var err error
		for err == nil {
			p := make([]byte, 1+r.IntN([]int{100, 2000, 20_000}[r.IntN(3)]))
			var n int
			n, err = c.Read(p)
			got = append(got, p[:n]...)
		}
		if !bytes.Equal(got, want) || !errors.Is(err, errOver) {
			t.Fatalf("seed %d: %d bytes of %d, equal %v, %v", seed, len(got), len(want), bytes.Equal(got, want), err)
		}
	}
}

func TestReadAheadOnlyWhereItHelps(t *testing.T) {
	t.Parallel()
	s := &scripted{}
	c := New(s, &Buffers{})
	c.Collect()
	p := make([]byte, 100)
	read := func(n int) {
		t.Helper()
		for n > 0 {
			got, err := c.Read(p)
			if err != nil {
				t.Fatal(err)
			}
			n -= got
		}
	}
	s.chunks = [][]byte{make([]byte, 100*(readsFull-1)), make([]byte, 99), make([]byte, 50_000), {1}}
	read(100*(readsFull-1) + 99)
	if c.ahead.buf != nil {
		t.Fatal("a buffer after too few full reads in a row")
	}
	before := s.reads
	read(50_000)
	if c.ahead.buf == nil || s.reads-before > readsFull+4 {
		t.Fatalf("%d reads", s.reads-before)
	}
	for range readsSmall + 1 {
		s.chunks = append(s.chunks, []byte{1})
	}
	read(readsSmall + 1)
	if c.ahead.buf != nil {
		t.Error("a buffer after nothing but small reads")
	}
}

// A reader that waits is woken by Close.
func TestReadAfterClose(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	c := New(near, &Buffers{})
	c.Collect()
	read := make(chan error)
	go func() { _, err := c.Read(make([]byte, 1)); read <- err }()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := <-read; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if _, err := far.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	_ = far.Close()
}
