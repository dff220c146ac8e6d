package balancer

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"

	"github.com/weft-mesh/weft/resilience"
)

// sent is an attempt that was answered; it ends with the response's body. Its
// latency is that of the answer's header: the rest is up to the reader too.
type sent struct {
	s       *service
	p       *pool
	n       *Node
	took    int64 // until the header, in nanoseconds
	req     *http.Request
	call    *Call
	left    func(resilience.Outcome) // leaves Config.Gate; nil: there is none
	outcome resilience.Outcome
	ended   atomic.Bool
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
	a.n.Done(Now()-a.took, a.outcome)
	if a.left != nil {
		a.left(a.outcome)
	}
	a.p.leave()
	a.s.leave()
}

// onBodyEnd makes a end with the body of resp.
func onBodyEnd(resp *http.Response, a *sent) {
	a.outcome = resilience.JudgeHTTP(a.req, resp, nil, false)
	if resp.Body == nil || resp.Body == http.NoBody {
		a.end(nil)
		return
	}
	b := endingBody{ReadCloser: resp.Body, a: a}
	if w, ok := resp.Body.(io.Writer); ok { // 101 Switching Protocols
		resp.Body = &endingConn{endingBody: b, Writer: w}
		return
	}
	resp.Body = &b
}

type endingBody struct {
	io.ReadCloser
	a *sent
}

func (b *endingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.a.end(err)
	}
	return n, err
}

func (b *endingBody) Close() error {
	err := b.ReadCloser.Close()
	b.a.end(nil)
	return err
}

// endingConn is the body of a switched connection: its end of reading is not the
// end of writing, so only Close ends the attempt.
type endingConn struct {
	endingBody
	io.Writer
}

func (c *endingConn) Read(p []byte) (int, error) { return c.ReadCloser.Read(p) }
