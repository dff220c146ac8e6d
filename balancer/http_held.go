package balancer

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
)

// heldBody keeps a request's body open while it may be needed for another
// endpoint: net/http closes a body also when there was nobody to send it to.
// The nil heldBody is a request without a body.
type heldBody struct {
	body io.ReadCloser
	read atomic.Bool

	mu        sync.Mutex
	wantClose bool // net/http closed it before it read
	passOn    bool // no further attempt will be made
}

func holdBody(req *http.Request) *heldBody {
	if req.Body == nil || req.Body == http.NoBody {
		return nil
	}
	return &heldBody{body: req.Body}
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
