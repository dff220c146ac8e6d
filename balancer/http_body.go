package balancer

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"

	"github.com/weft-mesh/weft/balancer/internal/http1"
	"github.com/weft-mesh/weft/resilience"
)

// sent is an attempt, in one piece: what the endpoint's http.Transport is given, and,
// once it was answered, the response's body, with which it ends. Its latency is that of
// the answer's header: the rest is up to the reader too.
type sent struct {
	io.ReadCloser // the response's body
	p             *pool
	n             *Node
	took          int64 // until the header, in nanoseconds
	req           *http.Request
	out           *http.Request // as it is sent: req itself, if it is ours to change
	url           url.URL       // of out
	call          *Call
	left          func(resilience.Outcome) // leaves Config.Gate; nil: there is none
	outcome       resilience.Outcome
	ended         atomic.Bool
	small         http1.Exchange // if it goes over connections for small requests
}

// copied is an attempt with a copy of its request.
type copied struct {
	sent
	req http.Request
}

// end is called with what the body ended with; only the first time counts.
func (a *sent) end(err error) {
	if a.ended.Swap(true) {
		return
	}
	if err != nil && !errors.Is(err, io.EOF) {
		a.outcome = resilience.JudgeHTTP(a.req, nil, err, resilience.CallerEnded(a.req.Context(), a.call.Deadline))
		a.outcome.Silent = false // the answer had begun
	}
	now := Now()
	a.n.Done(now-a.took, a.outcome)
	if a.left != nil {
		a.left(a.outcome)
	}
	s := a.p.s
	a.p.leave()
	s.left(now)
}

// answered makes a end with the body of resp.
func (a *sent) answered(resp *http.Response) {
	a.outcome = resilience.JudgeHTTP(a.req, resp, nil, false)
	if resp.Body == nil || resp.Body == http.NoBody {
		a.end(nil)
		return
	}
	a.ReadCloser = resp.Body
	if w, ok := resp.Body.(io.Writer); ok { // 101 Switching Protocols
		resp.Body = &endingConn{a, w}
		return
	}
	resp.Body = a
}

// Read implements io.Reader.
func (a *sent) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)
	if err != nil {
		a.end(err)
	}
	return n, err
}

// Close implements io.Closer.
func (a *sent) Close() error {
	err := a.ReadCloser.Close()
	a.end(nil)
	return err
}

// endingConn is the body of a switched connection: its end of reading is not the
// end of writing, so only Close ends the attempt.
type endingConn struct {
	*sent
	io.Writer
}

func (c *endingConn) Read(p []byte) (int, error) { return c.ReadCloser.Read(p) }
