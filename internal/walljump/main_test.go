package main

import "testing"

// The Go in use has the function that is replaced.
func TestJumps(t *testing.T) {
	t.Parallel()
	_, src, err := source()
	if err == nil {
		_, err = jumps(src)
	}
	if err != nil {
		t.Error(err)
	}
	if _, err := jumps("package time"); err == nil {
		t.Error("a file without Now was changed")
	}
}
