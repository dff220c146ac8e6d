package main

import (
	"fmt"
	"os"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if isServer() {
		if err := serve(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// Times depend on the machine, allocations do not: a call through the mesh makes
// at most 6 more than bare grpc-go, both ends together.
func TestAllocations(t *testing.T) {
	p, err := startPair(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	r, err := p.measure(t.Context(), 4, 3, 300*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("allocations per call: bare %.1f, weft %.1f", r.AllocBare, r.AllocWeft)
	if more := r.AllocWeft - r.AllocBare; more > 6 {
		t.Errorf("weft makes %.1f more allocations per call than bare, at most 6 are allowed", more)
	}
}
