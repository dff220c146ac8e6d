package ownfile

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func TestOwnFile(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new")
	file := filepath.Join(dir, "x.json")
	for _, text := range []string{"first", "second"} {
		if err := Write(file, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := Read(file, 3); err != nil || string(got) != text[:3] {
			t.Errorf("%q, %v; want the first 3 bytes of %q", got, err, text)
		}
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
		t.Errorf("%v, %v; want nothing beside the file", list, err)
	}
	if err := Write(dir, nil); err == nil {
		t.Error("a folder was replaced")
	}
	if _, err := Read(dir, 3); err == nil {
		t.Error("a folder was read")
	}
	if runtime.GOOS == "windows" {
		return
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v; want it for the owner alone", info.Mode(), err)
	}
	if err := os.Chmod(file, 0o620); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(file, 3); err == nil {
		t.Error("a file that others may write was read")
	}
}
