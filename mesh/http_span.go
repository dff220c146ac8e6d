package mesh

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"

	"github.com/weft-mesh/weft/mesh/internal/telemetry"
)

// held is a span that waits for the end of a body.
type held interface {
	Hold()
	Release(failure string)
}

// holdForBody keeps the span of an answer open until its body was read or closed, or
// broke, which is an error of the span. An answer without a body has ended already.
func holdForBody(resp *http.Response, span held) {
	if resp == nil || resp.Body == nil || resp.Body == http.NoBody {
		return
	}
	span.Hold()
	body := resp.Body
	if w, ok := body.(io.Writer); ok { // 101 Switching Protocols
		resp.Body = &spanConn{spanBody: spanBody{ReadCloser: body, span: span}, Writer: w}
		return
	}
	resp.Body = &spanBody{ReadCloser: body, span: span}
}

// spanBody ends a span with a body.
type spanBody struct {
	io.ReadCloser
	span  held
	ended atomic.Bool
}

func (b *spanBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.end(err)
	}
	return n, err
}

func (b *spanBody) Close() error {
	err := b.ReadCloser.Close()
	b.end(nil)
	return err
}

func (b *spanBody) end(err error) {
	if b.ended.Swap(true) {
		return
	}
	failure := ""
	if err != nil && !errors.Is(err, io.EOF) {
		failure = telemetry.HTTPEndName(telemetry.HTTPError(err))
	}
	b.span.Release(failure)
}

// spanConn is a connection of another protocol: the end of reading is not that of writing.
type spanConn struct {
	spanBody
	io.Writer
}

func (c *spanConn) Read(p []byte) (int, error) { return c.ReadCloser.Read(p) }
