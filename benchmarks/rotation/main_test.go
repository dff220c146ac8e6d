package main

import (
	"testing"
	"time"
)

// No call fails when identities are replaced under it.
func TestRotation(t *testing.T) {
	t.Parallel()
	l, handshakes, err := rotateSVIDs(t.Context(), options{rotations: 20, callers: 4, every: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if handshakes != 40 || l.calls.Load() < handshakes || l.failed.Load() != 0 {
		t.Errorf("%d calls, %d new connections, %d failed%s", l.calls.Load(), handshakes, l.failed.Load(), l.why())
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for _, o := range []options{{}, {rotations: 1}, {rotations: 1, callers: 1, every: -1}} {
		if err := run(t.Context(), o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}
