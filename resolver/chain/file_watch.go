package chain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

// FileConfig says how files of entries are followed. The zero value works.
type FileConfig struct {
	// Poll is how often the files are looked at; a change is in effect when they
	// stayed the same for one Poll. 0: 25 ms.
	Poll time.Duration
	// Logger gets one event when entries are loaded, with one more for each of
	// their problems, and one when they become bad. nil: none.
	Logger *slog.Logger
}

// File is a set of entries that follows files.
type File struct {
	paths []string
	cfg   FileConfig
	stop  context.CancelFunc
	ended <-chan struct{} // closed by stop
	done  chan struct{}   // closed when the goroutine has ended

	mu      sync.Mutex
	set     *EntrySet
	err     error         // why newer content is not in use; nil: it is
	changed chan struct{} // closed at the next change of set
}

// Open loads entries as [Load] does, and follows changes of the files, and of which
// files are in a folder, until Close. It fails if the first content cannot be used.
//
// After that, content that is not valid changes nothing: the last good set stays
// in use, and Err and an event say what is wrong. Replace a file by renaming a new
// one over it.
func Open(ctx context.Context, cfg FileConfig, paths ...string) (*File, error) {
	if cfg.Poll < 0 {
		return nil, errors.New("resolver/chain: FileConfig.Poll must not be negative")
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	cfg.Poll = cmp.Or(cfg.Poll, 25*time.Millisecond)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	own, stop := context.WithCancel(context.Background())
	f := &File{paths: slices.Clone(paths), cfg: cfg, stop: stop, ended: own.Done(),
		done: make(chan struct{}), changed: make(chan struct{})}
	read := time.Now()
	last := stampOf(f.paths)
	set, err := Load(f.paths...)
	if err != nil {
		stop()
		return nil, err
	}
	f.use(set)
	go f.follow(last, read)
	return f, nil
}

// Set is the set in use.
func (f *File) Set() *EntrySet {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.set
}

// Err says why the content of the files is not in use; nil: it is.
func (f *File) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// Watch delivers the set in use, and each that comes into use after it, until ctx
// ends; of sets that come faster than they are taken, only the last. It returns
// the error of ctx, or [resolver.ErrClosed].
func (f *File) Watch(ctx context.Context, deliver func(*EntrySet)) error {
	for {
		f.mu.Lock()
		set, changed := f.set, f.changed
		f.mu.Unlock()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case isClosed(f.ended):
			return resolver.ErrClosed
		}
		deliver(set)
		select {
		case <-changed:
		case <-f.ended:
		case <-ctx.Done():
		}
	}
}

// Close ends all watches and stops following the files. It waits within ctx, and
// is idempotent.
func (f *File) Close(ctx context.Context) error {
	f.stop()
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("resolver/chain: close: %w", ctx.Err())
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
