package resilience

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// minGap is how far below the median a success rate must be in any case: among
// endpoints that are all nearly perfect, small differences mean nothing.
const minGap = 0.05

// armLocked makes sure that a sweep is due.
func (o *Outlier) armLocked() {
	if o.closed || o.armed.Load() {
		return
	}
	o.armed.Store(true)
	o.timers.Add(1)
	o.timer = time.AfterFunc(o.cfg.Interval, o.sweep)
}

// sweep looks at the rates, takes ejected endpoints back, and comes again while
// there is anything to look at.
func (o *Outlier) sweep() {
	defer o.timers.Done()
	o.mu.Lock()
	defer o.unlock()
	o.armed.Store(false)
	if o.closed {
		return
	}
	now := time.Now()
	again := o.takeBack(now)
	var rates []hostRate
	for _, h := range o.hosts {
		if h.refs == 0 || h.until.After(now) {
			continue
		}
		n, failed := h.calls.sum(h.calls.now())
		if failed > 0 {
			again = true
		}
		if n > 0 {
			rates = append(rates, hostRate{h, n, failed})
		}
	}
	slices.SortFunc(rates, func(a, b hostRate) int { return compareRates(a, b) })
	o.judge(rates, now)
	if again {
		o.armLocked()
	}
}

// takeBack ends ejections and degradations whose time is over, and reports
// whether others go on.
func (o *Outlier) takeBack(now time.Time) (again bool) {
	for key, h := range o.hosts {
		switch {
		case h.until.After(now):
			again = true
			if e, until := h.ejector, h.until; h.owed && h.refs > 0 {
				o.act(func() { e.Eject(until) })
			}
		case !h.until.IsZero():
			h.until = time.Time{}
			h.forgetCalls()
			if h.refs > 0 {
				e := h.ejector
				o.act(func() { e.Eject(time.Time{}) })
				o.tell(OutlierEvent{Kind: Returned, Endpoint: key, Zone: h.zone})
			}
		}
		if h.refs == 0 {
			if h.remembered(now) {
				again = true
			} else {
				delete(o.hosts, key)
			}
		}
	}
	for zone, until := range o.zones {
		if until.After(now) {
			again = true
			for _, h := range o.hosts {
				if e := h.ejector; h.owed && h.refs > 0 && h.zone == zone {
					o.act(func() { e.Degrade(until) })
				}
			}
			continue
		}
		delete(o.zones, zone)
		o.inZone(zone, func(e Ejector) { e.Degrade(time.Time{}) })
		o.tell(OutlierEvent{Kind: ZoneRestored, Zone: zone})
	}
	for _, h := range o.hosts {
		h.owed = false
	}
	return again
}

type hostRate struct {
	host      *OutlierHost
	n, failed uint64
}

func (r hostRate) success() float64 { return 1 - float64(r.failed)/float64(r.n) }

// compareRates puts the worst first, so that they use up MaxShare; names decide ties.
func compareRates(a, b hostRate) int {
	switch sa, sb := a.success(), b.success(); {
	case sa < sb:
		return -1
	case sa > sb:
		return 1
	case a.host.key < b.host.key:
		return -1
	}
	return 1
}

// judge ejects by failure percentage and by success rate.
func (o *Outlier) judge(rates []hostRate, now time.Time) {
	var pool []float64
	for _, r := range rates {
		if r.n >= uint64(o.cfg.MinCalls) {
			pool = append(pool, r.success())
		}
	}
	least := math.Inf(-1)
	if o.cfg.StdevFactor > 0 && len(pool) >= o.cfg.MinHosts {
		mid := median(pool)
		away := make([]float64, len(pool))
		for i, s := range pool {
			away[i] = math.Abs(s - mid)
		}
		least = min(mid-o.cfg.StdevFactor*1.4826*median(away), mid-minGap)
	}
	for _, r := range rates {
		percent := 100 * float64(r.failed) / float64(r.n)
		switch {
		case o.cfg.FailurePercent > 0 && r.n >= uint64(o.cfg.FailureCalls) && percent >= o.cfg.FailurePercent:
			o.eject(r.host, now, func() string { return fmt.Sprintf("%.0f %% of %d calls failed", percent, r.n) })
		case r.n >= uint64(o.cfg.MinCalls) && r.success() < least:
			o.eject(r.host, now, func() string {
				return fmt.Sprintf("success rate %.1f %% is below %.1f %%, as the others' rates allow", 100*r.success(), 100*least)
			})
		}
	}
}

// median sorts v.
func median(v []float64) float64 {
	slices.Sort(v)
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}

// Close ends the sweeps and takes all endpoints back. It is idempotent.
func (o *Outlier) Close() {
	o.mu.Lock()
	if !o.closed {
		o.closed = true
		if o.timer != nil && o.timer.Stop() {
			o.timers.Done()
		}
		for _, h := range o.hosts {
			if e := h.ejector; h.refs > 0 && !h.until.IsZero() {
				o.act(func() { e.Eject(time.Time{}) })
			}
		}
		for zone := range o.zones {
			o.inZone(zone, func(e Ejector) { e.Degrade(time.Time{}) })
		}
	}
	o.unlock()
	o.timers.Wait()
}
