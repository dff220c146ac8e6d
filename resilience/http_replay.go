package resilience

import (
	"bytes"
	"io"
	"net/http"
	"sync"
)

// replay provides the body of each attempt of a request.
type replay struct {
	none  bool                          // there is no body
	first io.ReadCloser                 // with get: the body of the first attempt, or nil
	get   func() (io.ReadCloser, error) // nil: there is one body only
	one   *oneBody                      // that body
}

// newReplay takes the request's body over. A body that cannot be had again, but
// whose length is known to be within limit, is read into memory if keep is set.
func newReplay(req *http.Request, limit int64, keep bool) (replay, error) {
	switch {
	case req.Body == nil || req.Body == http.NoBody:
		return replay{none: true}, nil
	case req.GetBody != nil:
		return replay{first: req.Body, get: req.GetBody}, nil
	case !keep || req.ContentLength <= 0 || req.ContentLength > limit:
		return replay{one: &oneBody{body: req.Body}}, nil
	}
	data, err := io.ReadAll(io.LimitReader(req.Body, req.ContentLength))
	if closeErr := req.Body.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return replay{}, err
	}
	return replay{get: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }}, nil
}

// again reports whether there is a body for another attempt.
func (r *replay) again() bool { return r.none || r.get != nil || !r.one.used() }

// many reports whether attempts may run at the same time.
func (r *replay) many() bool { return r.none || r.get != nil }

// body is that of attempt n.
func (r *replay) body(n int) (io.ReadCloser, error) {
	switch {
	case r.none:
		return http.NoBody, nil
	case r.one != nil:
		return r.one, nil
	case n == 1 && r.first != nil:
		return r.first, nil
	}
	return r.get()
}

// end lets the transport close the body from here on, and closes what it closed
// already.
func (r *replay) end() {
	if r.one != nil {
		r.one.release()
	}
}

// oneBody is a body that cannot be had again. A transport closes it also when it
// found nobody to send it to; then it stays open for the next attempt.
type oneBody struct {
	body io.ReadCloser

	mu                     sync.Mutex
	read, closed, released bool
}

func (b *oneBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	b.read = true
	b.mu.Unlock()
	return b.body.Read(p)
}

func (b *oneBody) Close() error {
	b.mu.Lock()
	b.closed = true
	pass := b.read || b.released
	b.mu.Unlock()
	if pass {
		return b.body.Close()
	}
	return nil
}

func (b *oneBody) used() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.read
}

func (b *oneBody) release() {
	b.mu.Lock()
	late := b.closed && !b.read
	b.released = true
	b.mu.Unlock()
	if late {
		_ = b.body.Close()
	}
}
