package mesh_test

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"
)

// load is callers that call one after the other until they are stopped.
type load struct {
	t    testing.TB
	stop func() // idempotent; waits for the last calls

	mu     sync.Mutex
	done   []int // calls that ended, by caller
	by     map[string]int
	failed []failure
}

// failure is a call that failed.
type failure struct {
	kind           string
	started, ended time.Time
	err            error
}

// callersOf is how many callers of each protocol there are.
const callersOf = 4

// begin starts the callers of each protocol; their first calls have succeeded
// when it returns.
func begin(t testing.TB, all map[string]call) *load {
	t.Helper()
	l := &load{t: t, by: map[string]int{}, done: make([]int, callersOf*len(all))}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	l.stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(l.stop)
	started := 0
	for kind, c := range all {
		for range callersOf {
			n := started
			wg.Go(func() { l.caller(ctx, n, kind, c) })
			started++
		}
	}
	l.rounds(1)
	l.unharmed("at the start")
	return l
}

func (l *load) caller(ctx context.Context, n int, kind string, c call) {
	pause := time.NewTicker(2 * time.Millisecond)
	defer pause.Stop()
	for {
		f := failure{kind: kind, started: time.Now()}
		// A call is not cut by the end of the load.
		cctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience/2)
		a, err := c(cctx)
		cancel()
		l.mu.Lock()
		l.done[n]++
		if err == nil {
			l.by[a.server]++
		} else {
			f.err, f.ended = err, time.Now()
			l.failed = append(l.failed, f)
		}
		l.mu.Unlock()
		select {
		case <-pause.C:
		case <-ctx.Done():
			return
		}
	}
}

// rounds waits until each caller has begun and ended n more calls.
func (l *load) rounds(n int) {
	l.t.Helper()
	l.mu.Lock()
	before := append([]int(nil), l.done...)
	l.mu.Unlock()
	until(l.t, fmt.Sprintf("each caller made %d calls", n), func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		for i := range before {
			if l.done[i] < before[i]+n+1 { // the first may have begun before
				return false
			}
		}
		return true
	})
}

// count is the number of calls that an instance has answered.
func (l *load) count(server string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.by[server]
}

// since waits for n rounds and returns how many calls each instance answered in them.
func (l *load) since(n int) map[string]int {
	l.t.Helper()
	l.mu.Lock()
	before := maps.Clone(l.by)
	l.mu.Unlock()
	l.rounds(n)
	l.mu.Lock()
	defer l.mu.Unlock()
	got := map[string]int{}
	for server, calls := range l.by {
		if calls > before[server] {
			got[server] = calls - before[server]
		}
	}
	return got
}

// answers waits until an instance answers calls.
func (l *load) answers(server string) {
	l.t.Helper()
	before := l.count(server)
	until(l.t, server+" answers calls", func() bool { return l.count(server) > before })
}

// failures are the calls that have failed so far.
func (l *load) failures() []failure {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]failure(nil), l.failed...)
}

// unharmed fails the test if a call has failed.
func (l *load) unharmed(when string) {
	l.t.Helper()
	if all := l.failures(); len(all) > 0 {
		l.t.Fatalf("%s: %d calls failed, the first, a %s call that took %v: %v", when, len(all), all[0].kind, all[0].ended.Sub(all[0].started), all[0].err)
	}
}

func (l *load) total() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, d := range l.done {
		n += d
	}
	return n
}

// crash ends instances at once, and returns how many calls have failed for that:
// those in flight, at most one for each caller and instance.
func (l *load) crash(instances ...*instance) int {
	l.t.Helper()
	before := len(l.failures())
	var wg sync.WaitGroup
	for _, in := range instances {
		wg.Go(in.crash)
	}
	wg.Wait()
	l.rounds(1) // who was in the middle of a call has ended it
	n := len(l.failures()) - before
	if most := len(instances) * len(l.done); n > most {
		l.t.Errorf("%d calls failed in the crash of %d instances, want at most %d", n, len(instances), most)
	}
	return n
}
