package chain

import (
	"time"
)

// follow reads the files when they changed and then stayed the same for a Poll.
// Files that were written shortly before they were read can have changed again
// with the same time, and are read once more.
func (f *File) follow(last []stamp, read time.Time) {
	defer close(f.done)
	tick := time.NewTicker(f.cfg.Poll)
	defer tick.Stop()
	before := last
	for {
		select {
		case <-f.ended:
			return
		case <-tick.C:
		}
		now := stampOf(f.paths)
		still := stayed(before, now)
		before = now
		if !still || sameStamps(now, last) && !fresh(last, read) {
			continue
		}
		start := time.Now()
		set, err := Load(f.paths...)
		// What was read while files changed may be part old, part new, or miss a file
		// that was listed. It is read again when they have stayed the same.
		if before = stampOf(f.paths); !stayed(now, before) {
			continue
		}
		last, read = now, start
		f.take(set, err)
	}
}

// stayed reports whether files are as they were, or could still not be looked at.
func stayed(before, now []stamp) bool {
	return sameStamps(before, now) || before == nil && now == nil
}

// fresh reports whether a file was written so shortly before it was read that its
// time cannot tell a later change.
func fresh(files []stamp, read time.Time) bool {
	const coarse = 50 * time.Millisecond // more than a tick of the kernel
	for _, s := range files {
		if read.Sub(s.info.ModTime()) < coarse {
			return true
		}
	}
	return false
}

// take puts a set in use, or reports why not; each once. Who sees Err change finds
// the event in the log.
func (f *File) take(set *EntrySet, err error) {
	f.mu.Lock()
	old, bad := f.set, f.err
	f.mu.Unlock()
	switch {
	case err != nil && (bad == nil || bad.Error() != err.Error()):
		f.cfg.Logger.Warn("config.rejected", "paths", f.paths, "error", err)
	case err != nil:
	case !set.equal(old):
		f.use(set)
	case bad != nil:
		f.cfg.Logger.Info("config.restored", "paths", f.paths)
	}
	f.mu.Lock()
	f.err = err
	f.mu.Unlock()
}

func (f *File) use(set *EntrySet) {
	f.mu.Lock()
	f.set, f.err = set, nil
	close(f.changed)
	f.changed = make(chan struct{})
	f.mu.Unlock()
	f.cfg.Logger.Info("config.loaded", "paths", f.paths, "entries", len(set.entries), "problems", len(set.problems))
	for _, p := range set.problems {
		f.cfg.Logger.Warn("config.not_honoured", "kind", p.Kind, "name", p.Name, "field", p.Field, "why", p.Why, "path", p.Source)
	}
}
