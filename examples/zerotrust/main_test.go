package main

import (
	"testing"
	"time"
)

// The example is its own test: it fails if anything that it claims did not hold.
func TestZeroTrust(t *testing.T) {
	if err := run(t.Context(), pace{callers: 2, rotations: 5, every: 20 * time.Millisecond, permissive: 2 * time.Second}); err != nil {
		t.Fatal(err)
	}
}
