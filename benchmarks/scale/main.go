// Command scale measures what many endpoints cost: the time and memory until the
// gRPC policy has accepted them, the cost of a change of 1 % of them, and the
// heap that holds a very large service. The network is a fake, everything above
// it is real. The last line is JSON for scripts.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"

	grpcbalancer "google.golang.org/grpc/balancer"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/resolver"
)

const (
	many   = 10_000
	most   = 100_000
	rounds = 5
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func run() error {
	fmt.Printf("%-44s %10s %10s %10s\n", "", "time", "memory", "connections")
	var results []result
	for _, subset := range []int{0, -1} {
		var all []result
		for range rounds {
			r, err := measure(many, subset)
			if err != nil {
				return err
			}
			all = append(all, r)
		}
		slices.SortFunc(all, func(a, b result) int { return int(a.accept - b.accept) })
		r := all[len(all)/2]
		results = append(results, r)
		name := "a subset of 16 per tier"
		if subset < 0 {
			name = "all connected"
		}
		row(fmt.Sprintf("%d endpoints, %s: accepted", many, name), r.accept, r.bytes, r.conns)
		row("  ... every connection ready", r.ready, r.readyBytes, r.conns)
		row("  ... 1 % of the endpoints replaced", r.churn, r.churnBytes, r.conns)
		row("  ... nothing changed", r.same, 0, r.conns)
	}
	held, grpcHeld, err := hold(most)
	if err != nil {
		return err
	}
	fmt.Printf("%-44s %10s %8.1fMB\n", fmt.Sprintf("%d endpoints held: snapshot and balancer", most), "", mb(held))
	fmt.Printf("%-44s %10s %8.1fMB\n", "  ... the same and their gRPC form", "", mb(grpcHeld))
	all := results[1]
	return json.NewEncoder(os.Stdout).Encode(struct {
		Bench     string  `json:"bench"`
		Endpoints int     `json:"endpoints"`
		SetupMS   float64 `json:"setup_ms"`
		SetupMB   float64 `json:"setup_mb"`
		ChurnMS   float64 `json:"churn_ms"`
		HeapMB    float64 `json:"heap_100k_mb"`
	}{"scale", many, ms(all.accept), mb(all.bytes), ms(all.churn), mb(held)})
}

type result struct {
	accept, ready, churn, same    time.Duration
	bytes, readyBytes, churnBytes uint64
	conns                         int
}

// measure takes a policy through its first state, connections and a change.
// Memory is everything allocated on the way, garbage included.
func measure(n, subset int) (r result, err error) {
	st, err := newStates()
	if err != nil {
		return r, err
	}
	defer st.r.Close()
	cfg := &balancer.Config{SubsetSize: subset, Store: &balancer.Store{}}
	if subset >= 0 { // without a place of its own, the client has one tier with everybody in it
		cfg.Local = resolver.Locality{Cloud: "aws", Region: "region-1", Zone: "zone-a"}
	}
	ch := &channel{ready: make(chan struct{})}
	lb := grpcbalancer.Get(balancer.Name).Build(ch, grpcbalancer.BuildOptions{})
	defer lb.Close()
	update := func(snap *resolver.Snapshot) (time.Duration, uint64, error) {
		s := st.of(snap)
		balancer.Attach(&s, cfg)
		runtime.GC()
		return timed(func() error {
			return lb.UpdateClientConnState(grpcbalancer.ClientConnState{ResolverState: s})
		})
	}
	snap := fleet(n)
	if r.accept, r.bytes, err = update(snap); err != nil {
		return r, err
	}
	r.ready, r.readyBytes, err = timed(func() error {
		ch.connect(0)
		<-ch.ready
		return nil
	})
	if err != nil {
		return r, err
	}
	r.conns = ch.count()
	changed := churn(snap)
	if r.churn, r.churnBytes, err = update(changed); err != nil {
		return r, err
	}
	if r.same, _, err = update(changed); err != nil {
		return r, err
	}
	return r, nil
}

// hold is the heap that a service of n endpoints needs, without and with its
// gRPC form.
func hold(n int) (plain, withGRPC uint64, err error) {
	before := heap()
	snap := fleet(n)
	b, err := balancer.New(balancer.Config{}, balancer.Connector{Connect: func(*balancer.Node) balancer.Conn { return none{} }})
	if err != nil {
		return 0, 0, err
	}
	b.Update(snap)
	plain = heap() - before
	st, err := newStates()
	if err != nil {
		return 0, 0, err
	}
	s := st.of(snap)
	withGRPC = heap() - before
	st.r.Close()
	b.Close()
	runtime.KeepAlive(snap)
	runtime.KeepAlive(s)
	return plain, withGRPC, nil
}

type none struct{}

func (none) Close() {}

func timed(f func() error) (time.Duration, uint64, error) {
	var a, b runtime.MemStats
	runtime.ReadMemStats(&a)
	start := time.Now()
	err := f()
	took := time.Since(start)
	runtime.ReadMemStats(&b)
	return took, b.TotalAlloc - a.TotalAlloc, err
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func row(name string, took time.Duration, bytes uint64, conns int) {
	fmt.Printf("%-44s %8.2fms %8.1fMB %10d\n", name, ms(took), mb(bytes), conns)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
func mb(b uint64) float64        { return float64(b/1000) / 1000 }
