package resilience

import (
	"net/http"
	"sync/atomic"
	"time"
)

// stamp is what is sent of a time that is left. It is shared and never changed.
type stamp struct {
	left   time.Duration
	header http.Header // nothing but TimeoutKey
}

// stamps keeps the latest ones: calls with the same timeout send the same few, which
// costs nothing to write, and almost nothing over HTTP/2, where a value that was sent
// before is one byte.
type stamps [16]atomic.Pointer[stamp]

// of is the stamp of a time, rounded up by 1 % or 10 ms at most.
func (s *stamps) of(left time.Duration) *stamp {
	left = coarse(left)
	at := &s[uint64(left)*0x9e3779b97f4a7c15>>60]
	if st := at.Load(); st != nil && st.left == left {
		return st
	}
	st := &stamp{left, http.Header{timeoutHeader: {FormatTimeout(left)}}}
	at.Store(st)
	return st
}

// coarse rounds up to three digits, and to 10 ms above one second.
func coarse(d time.Duration) time.Duration {
	step := time.Duration(1)
	for d > 1000*step && step < 10*time.Millisecond {
		step *= 10
	}
	if d <= 0 || d > NoTimeout-step {
		return d
	}
	return (d + step - 1) / step * step
}
