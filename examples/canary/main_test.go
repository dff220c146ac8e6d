package main

import "testing"

// The example is its own test: it fails if a change cost a call, a share was wrong, or
// a user was moved without need.
func TestCanary(t *testing.T) {
	if err := run(t.Context(), pace{callers: 2, users: 60, draws: 200}); err != nil {
		t.Fatal(err)
	}
}
