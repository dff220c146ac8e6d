package http1

import "net"

// records follows TLS through a stream of bytes: a record is five bytes of header, of
// which the last two are the length of what follows.
type records struct {
	head [5]byte
	n    int // bytes of head
	left int // bytes of the record that are still to come
}

func (r *records) pass(p []byte) {
	for len(p) > 0 {
		if r.left > 0 {
			n := min(r.left, len(p))
			r.left -= n
			p = p[n:]
			continue
		}
		n := copy(r.head[r.n:], p)
		r.n += n
		p = p[n:]
		if r.n == len(r.head) {
			r.n, r.left = 0, int(r.head[3])<<8|int(r.head[4])
		}
	}
}

// within reports whether the stream stands in the middle of a record.
func (r *records) within() bool { return r.n > 0 || r.left > 0 }

// nothing is the error of a probe that finds nothing, of a kind that TLS survives.
type nothing struct{}

func (nothing) Error() string   { return "http1: nothing to read" }
func (nothing) Timeout() bool   { return true }
func (nothing) Temporary() bool { return true }

var _ net.Error = nothing{}
