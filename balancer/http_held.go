package balancer

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/weft-mesh/weft/resilience"
)

// bodies gives each attempt of a request its body. One that can be had again is passed
// on as it is: net/http writes the readers that it knows together with the header.
type bodies struct {
	first io.ReadCloser                 // of the first attempt; nil: taken, or held
	again func() (io.ReadCloser, error) // of those after it; nil: there is one body at most
	held  *heldBody                     // that one; nil: there is none, or again
}

func bodiesOf(req *http.Request) bodies {
	switch {
	case req.Body == nil || req.Body == http.NoBody:
		return bodies{}
	case req.GetBody != nil:
		return bodies{first: req.Body, again: req.GetBody}
	}
	return bodies{held: &heldBody{body: req.Body}}
}

// next is the body of another attempt; nil: the request has none.
func (b *bodies) next() (body io.ReadCloser, err error) {
	switch {
	case b.held != nil:
		return b.held, nil
	case b.first != nil:
		body, b.first = b.first, nil
		return body, nil
	case b.again == nil:
		return nil, nil
	}
	if body, err = b.again(); err != nil {
		return nil, fmt.Errorf("the request's GetBody: %w: %w", resilience.ErrUnsent, err)
	}
	return body, nil
}

// drop closes a body that no attempt got.
func (b *bodies) drop(body io.ReadCloser) {
	switch {
	case b.held != nil:
		b.held.drop()
	case body != nil:
		_ = body.Close()
	}
}

// heldBody keeps a request's body open while it may be needed for another
// endpoint: net/http closes a body also when there was nobody to send it to.
// The nil heldBody is a request without a body, or with one that can be had again.
type heldBody struct {
	body io.ReadCloser
	read atomic.Bool

	mu        sync.Mutex
	wantClose bool // net/http closed it before it read
	passOn    bool // no further attempt will be made
}

func (b *heldBody) Read(p []byte) (int, error) {
	b.read.Store(true)
	return b.body.Read(p)
}

func (b *heldBody) Close() error {
	b.mu.Lock()
	b.wantClose = true
	held := !b.passOn && !b.read.Load()
	b.mu.Unlock()
	if held {
		return nil
	}
	return b.body.Close()
}

// touched reports whether an attempt may have consumed some of it.
func (b *heldBody) touched() bool { return b != nil && b.read.Load() }

// release lets Close through, also one that was held back.
func (b *heldBody) release() {
	if b == nil {
		return
	}
	b.mu.Lock()
	b.passOn = true
	late := b.wantClose && !b.read.Load()
	b.mu.Unlock()
	if late {
		_ = b.body.Close()
	}
}

// drop closes the body unless net/http has it.
func (b *heldBody) drop() {
	if b != nil && !b.read.Load() {
		_ = b.Close() // released by roundTrip's end
	}
}
