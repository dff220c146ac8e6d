package resolver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"github.com/weft-mesh/weft/internal/ownfile"
)

// writeGap is the shortest time between two writes; a long write waits longer, so
// that writing takes a few percent of a core at most.
const (
	writeGap   = time.Second
	writeShare = 20
)

// disk keeps the snapshot files of one source. Its writer runs while there is
// something to write.
type disk struct {
	dir, source string
	maxAge      time.Duration
	event       func(name string, args ...any)

	mu      sync.Mutex
	dirty   map[string]diskEntry
	saved   map[string]diskEntry // what was handed over last
	errs    map[string]error
	swept   bool
	closed  bool
	stop    chan struct{}
	writing chan struct{} // closed when the writer ends; nil: none runs
}

type diskEntry struct {
	list []*Endpoint
	asOf time.Time
}

func newDisk(cfg CacheConfig) *disk {
	return &disk{
		dir: cfg.Dir, source: cfg.Name, maxAge: cfg.MaxAge, stop: make(chan struct{}),
		dirty: map[string]diskEntry{}, saved: map[string]diskEntry{}, errs: map[string]error{},
		event: func(name string, args ...any) { cfg.Logger.Warn(name, append([]any{"source", cfg.Name}, args...)...) },
	}
}

// path is the file of a service. The hash keeps names apart that a file system
// would not; the rest is for people.
func (d *disk) path(service string) string {
	sum := sha256.Sum256([]byte(d.source + "\x00" + service))
	return filepath.Join(d.dir, hex.EncodeToString(sum[:8])+"-"+service[:min(len(service), 64)]+".snap")
}

// load reads the list of a service. Without a file the time is zero.
func (d *disk) load(service string) ([]*Endpoint, time.Time, error) {
	path := d.path(service)
	data, err := ownfile.Read(path, maxDiskFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, time.Time{}, nil
	}
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("resolver: snapshot file: %w", err)
	}
	list, asOf, err := decodeDisk(data, d.source, service)
	if err == nil {
		switch age := time.Since(asOf); {
		case age > d.maxAge:
			err = fmt.Errorf("it is %v old, over %v", age.Round(time.Second), d.maxAge)
		case age < -time.Hour:
			err = fmt.Errorf("it is from the future, by %v", -age.Round(time.Second))
		}
	}
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("resolver: snapshot file %s is ignored: %w", path, err)
	}
	d.mu.Lock()
	d.saved[service] = diskEntry{list, asOf}
	d.mu.Unlock()
	return list, asOf, nil
}

// save has a list written soon. A list that is there already is written again
// only when its time has moved on, and an empty one only over another: a misspelled
// name leaves no file.
func (d *disk) save(service string, list []*Endpoint, asOf time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	last, ok := d.saved[service]
	if d.closed || !ok && len(list) == 0 || ok && sameList(last.list, list) && asOf.Sub(last.asOf) < d.maxAge/48 {
		return
	}
	d.saved[service] = diskEntry{list, asOf}
	d.dirty[service] = diskEntry{list, asOf}
	if d.writing == nil {
		d.writing = make(chan struct{})
		go d.write(d.writing)
	}
}

// write writes until there is nothing left.
func (d *disk) write(done chan struct{}) {
	defer close(done)
	for {
		d.mu.Lock()
		work := d.dirty
		d.dirty = map[string]diskEntry{}
		if len(work) == 0 {
			d.writing = nil
			d.mu.Unlock()
			return
		}
		sweep := !d.swept
		d.swept = true
		d.mu.Unlock()
		if sweep {
			ownfile.Sweep(d.dir)
		}
		start := time.Now()
		for service, e := range work {
			d.note(service, d.writeOne(service, e))
		}
		pause := time.NewTimer(max(writeGap, writeShare*time.Since(start)))
		select {
		case <-pause.C:
		case <-d.stop:
		}
		pause.Stop()
	}
}

func (d *disk) writeOne(service string, e diskEntry) error {
	data, err := encodeDisk(d.source, service, e.list, e.asOf)
	if err != nil {
		return err
	}
	return ownfile.Write(d.path(service), data)
}

// note remembers how a write ended, and tells when that changes.
func (d *disk) note(service string, err error) {
	d.mu.Lock()
	before := d.errs[service]
	if err == nil {
		delete(d.errs, service)
	} else {
		d.errs[service] = fmt.Errorf("resolver: snapshot of %q is not on disk: %w", service, err)
		delete(d.saved, service) // the next save tries again
	}
	d.mu.Unlock()
	if err != nil && before == nil {
		d.event("registry.snapshot_failed", "service", service, "error", err)
	}
}

func (d *disk) failure(service string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.errs[service]
}

// close writes what is left, and waits for it within ctx.
func (d *disk) close(ctx context.Context) error {
	d.mu.Lock()
	if !d.closed {
		d.closed = true
		close(d.stop)
	}
	writing := d.writing
	d.mu.Unlock()
	if writing == nil {
		return nil
	}
	select {
	case <-writing:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("resolver: close: snapshots are still being written: %w", ctx.Err())
	}
}
