// Package ownfile keeps what a process must have at its next start in files of its
// user's own.
package ownfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

// Write replaces a file at once, so that no reader sees half of it, and makes its
// folder. Only the owner may read it.
func Write(file string, text []byte) error {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	// CreateTemp makes the file for its owner only.
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the reason is the one that matters
	}
	return err
}

// Read reads most bytes of a regular file that nobody else may write: what it says
// decides whom to trust.
func Read(file string, most int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || runtime.GOOS != "windows" && info.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("%s has mode %v: others could have written whom to trust; remove it", file, info.Mode())
	}
	return io.ReadAll(io.LimitReader(f, most))
}
