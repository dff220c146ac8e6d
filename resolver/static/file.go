package static

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

// FileConfig describes a catalog from a file. The zero value works.
type FileConfig struct {
	// Name is the name of the source, the cloud: ID.Source of all endpoints, and
	// the cloud of those that do not name one. Empty: "file".
	Name string
	// SPIFFEID is the identity expected of a service's endpoints that do not name
	// one. nil: none is expected by the catalog.
	SPIFFEID func(service string) string
	// Poll is how often the file is looked at. 0: 1 s.
	Poll time.Duration
	// MaxBytes bounds the file. 0: 16 MiB.
	MaxBytes int64
	// Logger gets one event when the file is loaded, and one when it becomes bad
	// or good again. nil: none.
	Logger *slog.Logger
}

// settle is how long a changed file must stay the same before it is read, so that
// one being written is not taken for whole.
const settle = 50 * time.Millisecond

// File is a catalog that follows a file. It implements [resolver.Catalog].
type File struct {
	path   string
	cfg    FileConfig
	cat    *Catalog
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	done   chan struct{}
}

// Open reads the file at path and follows its changes until Close. The path may
// be a symbolic link that is exchanged, as Kubernetes does for mounted
// configuration. It fails if the first content cannot be used.
//
// Replace the file by renaming a new one over it. A file that is written in
// place is read when it has not changed for a moment.
func Open(ctx context.Context, path string, cfg FileConfig) (*File, error) {
	if cfg.Poll < 0 || cfg.MaxBytes < 0 {
		return nil, fmt.Errorf("resolver/static: FileConfig.Poll and FileConfig.MaxBytes must not be negative")
	}
	cfg.Name = cmp.Or(cfg.Name, "file")
	cfg.Poll = cmp.Or(cfg.Poll, time.Second)
	cfg.MaxBytes = cmp.Or(cfg.MaxBytes, 16<<20)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f := &File{path: path, cfg: cfg, done: make(chan struct{}),
		cat: New(Config{Name: cfg.Name, SPIFFEID: cfg.SPIFFEID})}
	p := poller{file: f}
	if err := p.load(); err != nil {
		return nil, err
	}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	go p.follow()
	return f, nil
}

// Watch implements [resolver.Catalog].
func (f *File) Watch(ctx context.Context, service string, deliver func(*resolver.Snapshot)) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(f.ctx, cancel)
	defer stop()
	err := f.cat.Watch(inner, service, deliver)
	if ctx.Err() == nil && f.ctx.Err() != nil {
		return resolver.ErrClosed
	}
	return err
}

// Services are the names that the file gives endpoints, sorted.
func (f *File) Services() []string { return f.cat.Services() }

// Close ends all watches and stops following the file. It waits within ctx, and
// is idempotent.
func (f *File) Close(ctx context.Context) error {
	f.cancel()
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("resolver/static: close %q: %w", f.path, ctx.Err())
	}
}

// poller reads a file when it changed.
type poller struct {
	file *File
	last os.FileInfo // of the content that was read last; nil: none was
	read time.Time
	text string // the content in use
	bad  string // the error in force; empty: none
}

func (p *poller) follow() {
	f := p.file
	defer close(f.done)
	tick := time.NewTicker(f.cfg.Poll)
	defer tick.Stop()
	for {
		select {
		case <-f.ctx.Done():
			return
		case <-tick.C:
		}
		if p.changed() && p.settled() {
			p.report(p.load())
		}
	}
}

// changed reports whether the file may differ from what was read. A file that was
// written shortly before it was read can have changed again with the same time.
func (p *poller) changed() bool {
	now, err := os.Stat(p.file.path)
	return err != nil || p.last == nil || !sameFile(now, p.last) || p.read.Sub(now.ModTime()) < 2*time.Second
}

// settled waits until the file stays the same for a moment, or reports false when
// the catalog is closed.
func (p *poller) settled() bool {
	for {
		before, err := os.Stat(p.file.path)
		if err == nil && p.last != nil && sameFile(before, p.last) {
			return true
		}
		select {
		case <-p.file.ctx.Done():
			return false
		case <-time.After(settle):
		}
		after, err2 := os.Stat(p.file.path)
		if err != nil && err2 != nil || err == nil && err2 == nil && sameFile(before, after) {
			return true
		}
	}
}

func sameFile(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// load reads the file and puts its content in use.
func (p *poller) load() error {
	f := p.file
	text, info, err := readBounded(f.path, f.cfg.MaxBytes)
	if err != nil {
		p.last = nil
		return fmt.Errorf("resolver/static: %w", err)
	}
	p.last, p.read = info, time.Now()
	if text == p.text && text != "" {
		return nil
	}
	all, err := f.cat.parse([]byte(text))
	if err != nil {
		return fmt.Errorf("resolver/static: %s: %w", f.path, err)
	}
	p.text = text
	skipped := f.cat.load(all)
	f.cfg.Logger.Info("registry.snapshot_loaded", "source", f.cfg.Name, "path", f.path, "services", len(all), "skipped", skipped)
	return nil
}

// report makes the snapshots stale while the file is bad.
func (p *poller) report(err error) {
	f := p.file
	switch {
	case err == nil && p.bad != "":
		p.bad = ""
		f.cat.Restore()
		f.cfg.Logger.Info("registry.connected", "source", f.cfg.Name, "path", f.path)
	case err != nil && p.bad != err.Error():
		p.bad = err.Error()
		f.cat.Lose(err)
		f.cfg.Logger.Warn("registry.stale", "source", f.cfg.Name, "path", f.path, "error", err)
	}
}

func readBounded(path string, limit int64) (string, os.FileInfo, error) {
	// Opening a pipe would wait for a writer.
	if info, err := os.Stat(path); err != nil {
		return "", nil, err
	} else if !info.Mode().IsRegular() {
		return "", nil, fmt.Errorf("%s is not a regular file", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return "", nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	info, err := file.Stat()
	if err != nil {
		return "", nil, err
	}
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return "", nil, err
	}
	if int64(len(data)) > limit {
		return "", nil, fmt.Errorf("%s has over %d bytes; raise FileConfig.MaxBytes if that is right", path, limit)
	}
	return string(data), info, nil
}

// load replaces the content of all services at once, and counts what was skipped.
func (c *Catalog) load(all map[string]*listing) (skipped int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asOf = time.Now()
	for name := range all {
		c.entryLocked(name)
	}
	for name, e := range c.services {
		l := all[name]
		if l == nil {
			l = &listing{}
		}
		e.set, e.skipped, e.skippedReasons = l.endpoints, l.skipped, l.reasons
		skipped += l.skipped
		c.publishLocked(name, e)
		c.forgetLocked(name, e)
	}
	return skipped
}
