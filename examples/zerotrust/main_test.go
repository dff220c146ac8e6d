package main

import (
	"testing"
	"time"
)

// The example is its own test: it fails if anything that it claims did not hold.
func TestZeroTrust(t *testing.T) {
	// In permissive mode a slow machine, too, must get two plaintext calls through.
	if err := run(t.Context(), pace{callers: 2, rotations: 5, every: 20 * time.Millisecond, permissive: 6 * time.Second}); err != nil {
		t.Fatal(err)
	}
}
