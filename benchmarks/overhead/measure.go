package main

import (
	"context"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/interop/grpc_testing"
)

const payload = 1 << 10

// sample is what one slice measured.
type sample struct {
	calls   int64
	rps     float64
	mallocs float64 // of both processes
	lat     []time.Duration
}

// measure runs the rounds with n callers. Which goes first alternates, so that a
// trend of the machine cancels out.
func (p *pair) measure(ctx context.Context, n, rounds int, slice time.Duration) (result, error) {
	var ratios []float64
	var bare, weft []sample
	for i := range rounds + 1 {
		order := []grpc_testing.TestServiceClient{p.bare, p.weft}
		if i%2 == 1 {
			slices.Reverse(order)
		}
		var got [2]sample
		for j, client := range order {
			s, err := p.slice(ctx, client, n, slice)
			if err != nil {
				return result{}, err
			}
			k := j
			if i%2 == 1 {
				k = 1 - j
			}
			got[k] = s
		}
		if i == 0 {
			continue // warm-up
		}
		bare, weft = append(bare, got[0]), append(weft, got[1])
		ratios = append(ratios, got[1].rps/got[0].rps)
	}
	r := result{Bench: "overhead", Callers: n, Ratio: round(median(ratios), 1000), FirstCall: round(p.first.Seconds()*1e3, 100)}
	r.AllocBare, r.P50Bare, r.P99Bare = summary(bare)
	r.AllocWeft, r.P50Weft, r.P99Weft = summary(weft)
	return r, nil
}

func (p *pair) slice(ctx context.Context, client grpc_testing.TestServiceClient, n int, d time.Duration) (sample, error) {
	server0, err := p.serverMallocs()
	if err != nil {
		return sample{}, err
	}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	client0 := mem.Mallocs
	var (
		wg    sync.WaitGroup
		calls atomic.Int64
		fail  atomic.Pointer[error]
		lats  = make([][]time.Duration, n)
	)
	// A deadline as callers should have one; without it weft would add its own, and
	// bare would go without.
	ctx, cancel := context.WithTimeout(ctx, d+10*time.Second)
	defer cancel()
	start := time.Now()
	for i := range n {
		lats[i] = make([]time.Duration, 0, 1<<14)
		wg.Go(func() {
			req := &grpc_testing.SimpleRequest{ResponseSize: payload, Payload: &grpc_testing.Payload{Body: make([]byte, payload)}}
			for t := time.Now(); t.Sub(start) < d; {
				if _, err := client.UnaryCall(ctx, req); err != nil {
					fail.Store(&err)
					return
				}
				calls.Add(1)
				now := time.Now()
				lats[i] = append(lats[i], now.Sub(t))
				t = now
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	if e := fail.Load(); e != nil {
		return sample{}, *e
	}
	runtime.ReadMemStats(&mem)
	server1, err := p.serverMallocs()
	if err != nil {
		return sample{}, err
	}
	return sample{
		calls:   calls.Load(),
		rps:     float64(calls.Load()) / took.Seconds(),
		mallocs: float64(mem.Mallocs-client0) + float64(server1-server0),
		lat:     slices.Concat(lats...),
	}, nil
}

// summary is allocations per call and latency quantiles in µs over all slices.
func summary(all []sample) (allocs, p50, p99 float64) {
	var mallocs float64
	var calls int64
	var lat []time.Duration
	for _, s := range all {
		mallocs += s.mallocs
		calls += s.calls
		lat = append(lat, s.lat...)
	}
	slices.Sort(lat)
	at := func(q float64) float64 { return round(float64(lat[int(q*float64(len(lat)-1))].Microseconds()), 1) }
	return round(mallocs/float64(calls), 10), at(0.5), at(0.99)
}

func median(v []float64) float64 {
	v = slices.Clone(v)
	slices.Sort(v)
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

func round(v, to float64) float64 { return math.Round(v*to) / to }
