package resolver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"
)

// writeGap is the shortest time between two writes; a long write waits longer, so
// that writing takes a few percent of a core at most.
const (
	writeGap   = time.Second
	writeShare = 20
	tempPrefix = ".weft-tmp-"
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
	data, err := readPrivate(path)
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

// readPrivate reads a file that nobody else may have written: it says whom to
// call and whom to expect there.
func readPrivate(path string) ([]byte, error) {
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", path)
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%s is open to others (mode %04o); it must be 0600", path, info.Mode().Perm())
	case info.Size() > maxDiskFile:
		return nil, fmt.Errorf("%s has %d bytes, over %d", path, info.Size(), maxDiskFile)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	return io.ReadAll(io.LimitReader(f, maxDiskFile+1))
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
			d.sweep()
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

func (d *disk) writeOne(service string, e diskEntry) (err error) {
	data, err := encodeDisk(d.source, service, e.list, e.asOf)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return err
	}
	// A temporary file of its own: other processes may use the directory.
	f, err := os.CreateTemp(d.dir, tempPrefix) // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // the first error counts
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), d.path(service))
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

// sweep removes what a process that was killed while it wrote has left.
func (d *disk) sweep() {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return // the write that follows tells what is wrong
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && strings.HasPrefix(e.Name(), tempPrefix) && time.Since(info.ModTime()) > time.Hour {
			_ = os.Remove(filepath.Join(d.dir, e.Name())) // another process may have been faster
		}
	}
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
