package ownfile

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestOwnFile(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new")
	file := filepath.Join(dir, "x.json")
	for _, text := range []string{"first", "second"} {
		if err := Write(file, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := Read(file, int64(len(text))); err != nil || string(got) != text {
			t.Errorf("%q, %v; want %q", got, err, text)
		}
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
		t.Errorf("%v, %v; want nothing beside the file", list, err)
	}
	if err := Write(dir, nil); err == nil {
		t.Error("a folder was replaced")
	}
	if list, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(list) != 1 {
		t.Errorf("%v, %v; want nothing left of what failed", list, err)
	}
	if info, err := os.Stat(file); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v; want it for the owner alone", info.Mode(), err)
	}
}

// What is not read is named, with why.
func TestReadRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := filepath.Join(dir, "good")
	if err := Write(good, []byte("text")); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(good, link); err != nil {
		t.Fatal(err)
	}
	tests := map[string]string{good: "has 4 bytes, over 3", link: "not a regular file", dir: "not a regular file", filepath.Join(dir, "none"): "no such file"}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o602} {
		open := filepath.Join(dir, mode.String())
		if err := os.WriteFile(open, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(open, mode); err != nil { // whatever the umask
			t.Fatal(err)
		}
		if runtime.GOOS != "windows" {
			tests[open] = "open to others"
		}
	}
	for file, want := range tests {
		if got, err := Read(file, 3); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %q, %v; want %q", file, got, err, want)
		}
	}
}

// Only what is old and half written goes.
func TestSweep(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old := time.Now().Add(-2 * time.Hour)
	for name, at := range map[string]time.Time{tempPrefix + "old": old, tempPrefix + "new": time.Now(), "kept.json": old} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	Sweep(dir)
	Sweep(filepath.Join(dir, "none")) // is no error
	list, err := os.ReadDir(dir)
	if err != nil || len(list) != 2 || list[0].Name() != tempPrefix+"new" || list[1].Name() != "kept.json" {
		t.Errorf("%v, %v", list, err)
	}
}
