package main

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"
)

// A test binary that the example started again is one cloud's services.
func TestMain(m *testing.M) {
	if os.Getenv(roleEnv) != "" {
		if err := run(context.Background(), pace{}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// The example is its own test: it fails if a call that is safe to repeat failed.
func TestMulticloud(t *testing.T) {
	if err := run(t.Context(), pace{callers: 2, scene: 300 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
}
