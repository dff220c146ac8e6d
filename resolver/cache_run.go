package resolver

import (
	"context"
	"sync"
	"time"
)

// diskGrace is how long the source has to answer before the list from disk is
// served: a fresh answer is better, and usually there in milliseconds.
const diskGrace = 250 * time.Millisecond

// run watches a service at the source until ctx ends, and publishes what is believed.
func (c *Cache) run(ctx context.Context, service string, publish func(*Snapshot)) {
	e := c.entry(service)
	e.running.Lock()
	k := &e.keeper
	defer func() {
		worth := len(k.kept) > 0
		e.running.Unlock()
		c.leave(service, e, worth)
	}()
	e.setWatched(true)
	defer e.setWatched(false)
	defer func() { k.pause(time.Now()) }()

	var in inbox
	in.ready = make(chan struct{}, 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		err := c.src.Watch(ctx, service, in.put)
		if ctx.Err() == nil {
			in.put(ended(in.peek(), service, err))
		}
	})

	show := func() {
		s := k.snapshot()
		e.publish(s, s.State != Known && e.loaded)
		publish(s)
	}
	// A list from memory is shown at once; one from disk when the source is slow.
	show()
	waiting := false
	if !k.known && !e.asked {
		e.asked = true
		waiting = c.load(k, e)
	}
	grace := time.NewTimer(diskGrace)
	defer grace.Stop()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	renew := time.NewTicker(max(c.cfg.MaxAge/24, time.Second))
	defer renew.Stop()
	for {
		timer.Stop()
		if d, ok := k.next(time.Now()); ok {
			timer.Reset(d)
		}
		select {
		case <-ctx.Done():
			return
		case <-in.ready:
			up := in.peek()
			k.take(up, time.Now())
			if waiting && up.State == Unknown && up.Reason == nil {
				continue // no answer yet
			}
			waiting = false
			show()
			c.save(k, false)
		case <-timer.C:
			if k.tick(time.Now()) {
				show()
				c.save(k, false)
			}
		case <-grace.C:
			if waiting {
				waiting = false
				show()
			}
		case <-renew.C:
			c.save(k, true)
		}
	}
}

// load asks the disk for a list, and reports whether there is one.
func (c *Cache) load(k *keeper, e *cached) bool {
	if c.disk == nil {
		return false
	}
	list, asOf, err := c.disk.load(k.service)
	switch {
	case err != nil:
		k.event("registry.snapshot_ignored", "reason", err)
	case !asOf.IsZero():
		k.restore(list, asOf)
		e.mu.Lock()
		e.loaded = true
		e.mu.Unlock()
		k.event("registry.snapshot_loaded", "endpoints", len(list), "as_of", asOf)
		return true
	}
	return false
}

// save hands what is believed to the disk. renew says that nothing changed but
// that the source still confirms it.
func (c *Cache) save(k *keeper, renew bool) {
	if c.disk == nil || k.state() != Known || k.held != nil {
		return
	}
	asOf := k.asOf
	if renew {
		asOf = time.Now()
	}
	c.disk.save(k.service, k.kept, asOf)
}

func (e *cached) publish(s *Snapshot, fromDisk bool) {
	e.mu.Lock()
	e.last, e.loaded = s, fromDisk
	e.mu.Unlock()
}

func (e *cached) setWatched(on bool) {
	e.mu.Lock()
	e.watched = on
	e.mu.Unlock()
}

// inbox holds the newest snapshot of a source.
type inbox struct {
	mu    sync.Mutex
	s     *Snapshot
	ready chan struct{} // has a token when s is new
}

func (b *inbox) put(s *Snapshot) {
	b.mu.Lock()
	b.s = s
	b.mu.Unlock()
	select {
	case b.ready <- struct{}{}:
	default:
	}
}

func (b *inbox) peek() *Snapshot {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.s
}
