// Package hub shares one upstream watch per key among any number of readers.
package hub

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrClosed is what Watch returns after Close.
var ErrClosed = errors.New("resolver: catalog is closed")

// Hub runs at most one upstream per key. It starts with the first reader and
// ends a while after the last one, so that a re-dial finds a warm watch.
type Hub[T any] struct {
	run    func(ctx context.Context, key string, publish func(T))
	linger time.Duration

	mu     sync.Mutex
	keys   map[string]*entry[T]
	closed chan struct{}
	wg     sync.WaitGroup
}

type entry[T any] struct {
	cancel  context.CancelFunc
	done    chan struct{} // closed when run has returned
	readers int
	timer   *time.Timer // runs while readers is 0
	last    T
	have    bool
	changed chan struct{} // closed and replaced on each publish
}

// New makes a hub. run must publish until its ctx ends and then return; linger
// is how long an upstream outlives its last reader. Without linger the last
// reader's Watch waits until the upstream has ended.
func New[T any](linger time.Duration, run func(ctx context.Context, key string, publish func(T))) *Hub[T] {
	return &Hub[T]{run: run, linger: linger, keys: map[string]*entry[T]{}, closed: make(chan struct{})}
}

// Watch delivers the newest value of key, then each newer one, until ctx or the
// hub ends. Values published while deliver runs replace each other.
func (h *Hub[T]) Watch(ctx context.Context, key string, deliver func(T)) error {
	e, err := h.acquire(key)
	if err != nil {
		return err
	}
	defer h.release(key, e)
	for {
		h.mu.Lock()
		v, have, changed := e.last, e.have, e.changed
		h.mu.Unlock()
		if err := ctx.Err(); err != nil {
			return err
		}
		if have {
			deliver(v)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-h.closed:
			return ErrClosed
		}
	}
}

// Keys returns the keys that have an upstream.
func (h *Hub[T]) Keys() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	keys := make([]string, 0, len(h.keys))
	for k := range h.keys {
		keys = append(keys, k)
	}
	return keys
}

// Close ends every upstream and reader, and waits for the upstreams. It is idempotent.
func (h *Hub[T]) Close() {
	h.mu.Lock()
	select {
	case <-h.closed:
	default:
		close(h.closed)
		for k, e := range h.keys {
			h.dropLocked(k, e)
		}
	}
	h.mu.Unlock()
	h.wg.Wait()
}

// CloseWithin is Close that waits no longer than ctx. All is told to end even if
// ctx has ended already.
func (h *Hub[T]) CloseWithin(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.Close()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("resolver: close: a watch has not ended yet: %w", ctx.Err())
	}
}

func (h *Hub[T]) acquire(key string) (*entry[T], error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.closed:
		return nil, ErrClosed
	default:
	}
	e := h.keys[key]
	if e == nil {
		ctx, cancel := context.WithCancel(context.Background())
		e = &entry[T]{cancel: cancel, done: make(chan struct{}), changed: make(chan struct{})}
		h.keys[key] = e
		h.wg.Add(1)
		go func() {
			defer h.wg.Done()
			defer close(e.done)
			h.run(ctx, key, func(v T) { h.publish(ctx, e, v) })
		}()
	}
	e.readers++
	if e.timer != nil {
		e.timer.Stop()
		e.timer = nil
	}
	return e, nil
}

func (h *Hub[T]) release(key string, e *entry[T]) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e.readers--
	if e.readers > 0 {
		return
	}
	if h.linger <= 0 {
		if h.keys[key] == e {
			h.dropLocked(key, e)
		}
		h.mu.Unlock()
		<-e.done
		h.mu.Lock()
		return
	}
	if h.keys[key] != e {
		return
	}
	var t *time.Timer
	t = time.AfterFunc(h.linger, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if e.timer == t && h.keys[key] == e {
			h.dropLocked(key, e)
		}
	})
	e.timer = t
}

func (h *Hub[T]) dropLocked(key string, e *entry[T]) {
	if e.timer != nil {
		e.timer.Stop()
		e.timer = nil
	}
	e.cancel()
	delete(h.keys, key)
}

func (h *Hub[T]) publish(ctx context.Context, e *entry[T], v T) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	e.last, e.have = v, true
	close(e.changed)
	e.changed = make(chan struct{})
}
