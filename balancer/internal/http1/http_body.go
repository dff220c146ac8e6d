package http1

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
)

// Exchange is a call and, if it has one, the body of its response. The zero value is
// for one call.
type Exchange struct {
	body io.ReadCloser // as http.ReadResponse made it
	p    *Pool
	c    *conn
	ctx  context.Context
	stop func() bool           // the watch of ctx; nil: it never ends
	keep bool                  // neither side closes the connection after the response
	end  atomic.Pointer[error] // what Read returns from now on; nil: there is more to read
}

var errReadClosed = errors.New("http: read on closed response body")

// Read implements io.Reader.
func (x *Exchange) Read(p []byte) (int, error) {
	if end := x.end.Load(); end != nil {
		return 0, *end
	}
	n, err := x.body.Read(p)
	if err == io.EOF {
		if x.end.CompareAndSwap(nil, &io.EOF) {
			x.release()
		}
	} else if err != nil {
		err = x.broke(err)
	}
	return n, err
}

// Close implements io.Closer. What was not read breaks the connection.
func (x *Exchange) Close() error {
	if x.end.Swap(&errReadClosed) == nil {
		x.drop()
	}
	return nil
}

func (x *Exchange) broke(err error) error {
	if x.ctx.Err() != nil {
		err = context.Cause(x.ctx)
	}
	if x.end.CompareAndSwap(nil, &err) {
		x.drop()
	}
	return err
}

// release gives the connection back if its state is certain: the request was written,
// the response read to its end, nothing came after it, and nobody is about to abort it.
func (x *Exchange) release() {
	unwatched := x.stop == nil || x.stop()
	if !unwatched || !x.keep || x.c.eof || x.c.br.Buffered() > 0 {
		x.c.close()
		return
	}
	x.p.put(x.c)
}

// drop gives the connection up.
func (x *Exchange) drop() {
	if x.stop != nil {
		x.stop()
	}
	x.c.close()
}
