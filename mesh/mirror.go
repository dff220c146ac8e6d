package mesh

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of mirroring: a copy is worth nothing to anyone who waits.
const (
	mirrorPlaces  = 64               // copies of one service's calls under way
	mirrorTimeout = 10 * time.Second // for one copy
	// mirrorKey marks a copy, in metadata and headers. What is called for it is marked
	// as well, and marked calls are not mirrored.
	mirrorKey = "weft-mirror"
)

// mirror sends copies of calls to another service, and forgets them. It counts those
// that it had no place for.
type mirror struct {
	m       *Mesh
	service string
	running atomic.Int64
	dropped atomic.Uint64
}

// send runs a copy, if there is a place, on a goroutine that Leave waits for, and
// reports whether it does.
func (m *mirror) send(ctx context.Context, f func(context.Context)) bool {
	if m.running.Add(1) > mirrorPlaces {
		m.running.Add(-1)
		m.dropped.Add(1)
		return false
	}
	ok := m.m.to.route.copies.run(func() {
		defer m.running.Add(-1)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), mirrorTimeout)
		defer cancel()
		defer context.AfterFunc(m.m.to.route.copies.ctx, cancel)() // Leave waits for nobody's answer
		f(context.WithValue(ctx, mirroredKey{}, true))
	})
	if !ok {
		m.running.Add(-1)
	}
	return ok
}

// mirrorNone counts a call that is not copied though it was drawn for it.
func (d *decided) mirrorNone() {
	if d.Mirror && d.mirror != nil {
		d.mirror.dropped.Add(1)
	}
}

type mirroredKey struct{}

// mirrored reports whether a call is made for a copy, as far as this process knows.
func mirrored(ctx context.Context) bool {
	on, _ := ctx.Value(mirroredKey{}).(bool)
	return on
}

// tasks are goroutines that are waited for once no further one may begin. They heed
// ctx, which ends then.
type tasks struct {
	ctx    context.Context
	cancel context.CancelFunc

	mu   sync.Mutex
	over bool
	wg   sync.WaitGroup
}

func (t *tasks) run(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.over {
		t.wg.Go(f)
	}
	return !t.over
}

func (t *tasks) close() {
	t.mu.Lock()
	t.over = true
	t.mu.Unlock()
	t.cancel()
	t.wg.Wait()
}
