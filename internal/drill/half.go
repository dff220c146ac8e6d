package drill

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// maxUnread is how much a sender may be ahead of its reader.
const maxUnread = 1 << 20

// half is one direction of a connection.
type half struct {
	n        *Net
	from, to string

	mu      sync.Mutex
	change  chan struct{} // closed and replaced when somebody may have to look again
	waiting bool
	queue   []chunk
	size    int
	last    time.Time // when the newest chunk arrives
	held    bool
	eof     bool      // the writer has closed
	err     error     // for both ends
	gone    bool      // the reader has closed
	readBy  time.Time // deadlines
	writeBy time.Time
}

type chunk struct {
	at time.Time
	b  []byte
}

func newHalf(n *Net, from, to string) *half {
	return &half{n: n, from: from, to: to, change: make(chan struct{})}
}

// wake is called with mu held.
func (h *half) wake() {
	if h.waiting {
		close(h.change)
		h.change, h.waiting = make(chan struct{}), false
	}
}

// wait unlocks, waits for a change or until at, unless that is zero, and locks again.
func (h *half) wait(at time.Time) {
	h.waiting = true
	change := h.change
	h.mu.Unlock()
	if at.IsZero() {
		<-change
	} else {
		t := time.NewTimer(time.Until(at))
		select {
		case <-change:
		case <-t.C:
		}
		t.Stop()
	}
	h.mu.Lock()
}

func (h *half) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		now := time.Now()
		next := h.readBy
		switch {
		case h.gone:
			return 0, net.ErrClosed
		case h.err != nil:
			return 0, h.err
		case !h.readBy.IsZero() && !h.readBy.After(now):
			return 0, os.ErrDeadlineExceeded
		case h.held:
		case len(h.queue) == 0 && h.eof:
			return 0, io.EOF
		case len(h.queue) == 0:
		case !h.queue[0].at.After(now):
			return h.take(p), nil
		case next.IsZero() || h.queue[0].at.Before(next):
			next = h.queue[0].at
		}
		h.wait(next)
	}
}

func (h *half) take(p []byte) int {
	c := &h.queue[0]
	n := copy(p, c.b)
	if c.b = c.b[n:]; len(c.b) == 0 {
		h.queue = h.queue[1:]
	}
	if h.size > maxUnread {
		h.wake()
	}
	h.size -= n
	return n
}

func (h *half) write(b []byte) (int, error) {
	delay := h.n.delay(h.from, h.to)
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		now := time.Now()
		switch {
		case h.eof:
			return 0, net.ErrClosed
		case h.err != nil:
			return 0, h.err
		case h.gone && !h.held:
			return 0, syscall.EPIPE
		case !h.writeBy.IsZero() && !h.writeBy.After(now):
			return 0, os.ErrDeadlineExceeded
		case h.size <= maxUnread:
			if at := now.Add(delay); at.After(h.last) { // in order
				h.last = at
			}
			h.queue = append(h.queue, chunk{h.last, append([]byte(nil), b...)})
			h.size += len(b)
			h.wake()
			return len(b), nil
		}
		h.wait(h.writeBy)
	}
}

// hold stops what is under way, or sends it again.
func (h *half) hold(on bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.held && !on {
		h.last = time.Now().Add(resent)
		for i := range h.queue {
			h.queue[i].at = h.last
		}
	}
	h.held = on
	h.wake()
}

func (h *half) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil {
		h.err = err
	}
	h.wake()
}

// close ends one end of the direction.
func (h *half) close(reader bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if reader {
		h.gone = true
	} else {
		h.eof = true
	}
	h.wake()
}

func (h *half) deadline(reader bool, t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if reader {
		h.readBy = t
	} else {
		h.writeBy = t
	}
	h.wake()
}
