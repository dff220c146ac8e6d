package main

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/weft-mesh/weft/internal/drill"
)

// close ends everything and checks what holds in all drills.
func (s *stage) close() error {
	var err error
	var sizes []int
	if s.sets != nil {
		sizes = s.sets()
	}
	if s.caller != nil {
		err = s.caller.Leave(context.Background())
	}
	var wg sync.WaitGroup
	for _, n := range s.nodes {
		wg.Go(func() {
			if n.cmd != nil && n.cmd.Process != nil {
				_ = n.cmd.Process.Signal(syscall.SIGCONT)
				n.kill()
			}
			if n.fwd != nil {
				n.fwd.close()
			}
		})
	}
	wg.Wait()
	files, routines := openFiles(), runtime.NumGoroutine()
	for until := time.Now().Add(5 * time.Second); time.Now().Before(until) && (files > s.files+2 || routines > s.routines+2); {
		time.Sleep(100 * time.Millisecond)
		files, routines = openFiles(), runtime.NumGoroutine()
	}
	for _, n := range s.nodes { // their Consul must not go on naming them
		agent := s.agents[0]
		for i := range s.agents {
			if clouds[i] == n.role.Cloud {
				agent = s.agents[i]
			}
		}
		_ = agent.Client().Agent().ServiceDeregister(n.role.Service + "-" + n.role.Name) // it may have left by itself
	}
	reqs := s.ledger.Requests(nil)
	genuine := map[string]bool{}
	for _, n := range s.nodes {
		genuine[n.role.Name] = true
	}
	for _, e := range []error{
		err,
		drill.CheckEnds(reqs, hiccup),
		drill.CheckAttempts(reqs, 1.2, 10, 10*time.Second),
		drill.CheckPeers(reqs, func(h string) bool { return genuine[h] }, 0),
		s.checkDenied(),
		drill.CheckSets(sizes),
		drill.CheckOnce(reqs),
		drill.CheckReturned("open files", s.files, files, 2),
		drill.CheckReturned("goroutines", s.routines, routines, 2),
		drill.CheckEvents(s.changes.Counts(), s.events.Changes()),
	} {
		if e != nil {
			s.broken = append(s.broken, e)
		}
	}
	return errors.Join(s.broken...)
}

// hiccup is how late this machine may be by itself: the promise of 50 ms is held to
// in virtual time, where there is no such thing.
const hiccup = 500 * time.Millisecond

// openFiles is how many files this process has open; 0 where that is not to be known.
func openFiles() int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(list)
}
