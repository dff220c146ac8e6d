package main

import (
	"testing"
	"time"
)

// The quick start is its own test: it fails if a call that is safe to repeat
// failed, or if anything that it claims did not hold.
func TestQuickstart(t *testing.T) {
	if err := run(t.Context(), pace{callers: 2, steady: 300 * time.Millisecond, outage: 300 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
}
