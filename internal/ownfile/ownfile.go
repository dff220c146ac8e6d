// Package ownfile keeps what a process must have at its next start in files of its
// user's own. It is not a rig: every room may import it, and it imports none.
package ownfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// tempPrefix begins the names of files that are being written.
const tempPrefix = ".weft-tmp-"

// Write replaces a file at once, so that no reader sees half of it, also after a
// power cut, and makes its folder. Only the owner may read it.
func Write(file string, text []byte) error {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	// Of its own, as other processes may use the folder; CreateTemp makes it for its owner only.
	f, err := os.CreateTemp(dir, tempPrefix)
	if err != nil {
		return err
	}
	if _, err = f.Write(text); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the reason is the one that matters
	}
	return err
}

// Read reads a regular file of at most that many bytes that nobody else may read or
// write: what it says decides whom to call and whom to trust.
func Read(file string, most int64) ([]byte, error) {
	info, err := os.Lstat(file) // before it is opened, which waits for the writer of a pipe
	if err == nil {
		err = check(file, info, most)
	}
	if err != nil {
		return nil, err
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	// Again, of what was opened: another file may have taken its place.
	if info, err = f.Stat(); err == nil {
		err = check(file, info, most)
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, most+1))
}

func check(file string, info os.FileInfo, most int64) error {
	switch {
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", file)
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("%s is open to others (mode %04o), who could have written whom to trust; it must be 0600: remove it", file, info.Mode().Perm())
	case info.Size() > most:
		return fmt.Errorf("%s has %d bytes, over %d", file, info.Size(), most)
	}
	return nil
}

// Sweep removes what processes that were killed while they wrote have left in a folder.
func Sweep(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // the write that follows tells what is wrong
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && strings.HasPrefix(e.Name(), tempPrefix) && time.Since(info.ModTime()) > time.Hour {
			_ = os.Remove(filepath.Join(dir, e.Name())) // another process may have been faster
		}
	}
}
