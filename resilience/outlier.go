package resilience

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Ejector acts on one endpoint; a balancer implements it. Calls come without a
// lock held.
type Ejector interface {
	// Eject takes the endpoint out of use until then. The zero time puts it back,
	// to start slowly.
	Eject(until time.Time)
	// Degrade lets the endpoint's place give calls away to the next best place
	// until then, while the endpoint stays in use. The zero time ends it.
	Degrade(until time.Time)
}

// Outlier ejects the endpoints of one service that fail more than the others:
// by failures in a row, at once; by success rate and by failure percentage, when
// it sweeps. Neutral and Throttled outcomes count nowhere, but an endpoint that
// has fallen silent is found by [OutlierHost.Silent]. It works in pools of two, and never ejects more than MaxShare of a zone or of all. Breaker is its
// neighbour for whole services.
//
// Nothing runs while nobody fails. Close ends what does.
type Outlier struct {
	cfg    OutlierConfig
	armed  atomic.Bool // a sweep is due
	start  time.Time
	spoken atomic.Int64 // when an answer ended a row of silence, in nanoseconds since just before start; 0: never

	mu     sync.Mutex
	hosts  map[string]*OutlierHost
	zones  map[string]time.Time // degraded until
	timer  *time.Timer
	timers sync.WaitGroup
	closed bool
	acts   []func() // to be done without the lock
}

// OutlierHost is one endpoint as an Outlier knows it.
type OutlierHost struct {
	o        *Outlier
	calls    *window      // all, failed
	row      atomic.Int32 // failures and silences since the last success
	mute     atomic.Int32 // silences since the last answer
	answered atomic.Int64 // when the last answer came, on the clock of calls

	// The rest is guarded by o.mu.
	key, zone string
	ejector   Ejector
	refs      int
	until     time.Time // ejected
	back      time.Time // when the newest ejection ended
	lastFor   time.Duration
	times     int
	owed      bool // the ejector is to be told what is under way
}

// NewOutlier makes an Outlier without endpoints. It refuses a senseless
// OutlierConfig, naming the field.
func NewOutlier(cfg OutlierConfig) (*Outlier, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Outlier{cfg: cfg, start: time.Now(), hosts: map[string]*OutlierHost{}, zones: map[string]time.Time{}}, nil
}

// Host is the endpoint named key, in zone, made if there is none. Each Host must
// be left by [OutlierHost.Leave]. e, which replaces the one of an earlier call,
// is told of an ejection that is still under way by the next sweep; it is not
// called here, so a lock may be held.
func (o *Outlier) Host(key, zone string, e Ejector) *OutlierHost {
	o.mu.Lock()
	defer o.unlock()
	h := o.hosts[key]
	if h == nil {
		h = &OutlierHost{o: o, key: key, calls: newWindow(o.cfg.Window, 5)}
		o.hosts[key] = h
	}
	h.zone, h.ejector = zone, e
	h.refs++
	now := time.Now()
	if h.until.After(now) || o.zones[zone].After(now) {
		h.owed = true
		o.armLocked()
	}
	return h
}

// Leave ends a Host's use. A host that nobody uses is no part of the pool; its
// past ejections are remembered until the time of the newest has passed twice.
func (h *OutlierHost) Leave() {
	o := h.o
	o.mu.Lock()
	defer o.unlock()
	if h.refs--; h.refs > 0 {
		return
	}
	if !h.remembered(time.Now()) {
		delete(o.hosts, h.key)
	} else {
		o.armLocked() // a sweep will forget it
	}
}

func (h *OutlierHost) remembered(now time.Time) bool {
	return h.times > 0 && (h.until.After(now) || now.Sub(h.back) < h.lastFor)
}

// Observe counts the end of an attempt. It takes no lock unless the attempt
// failed, and allocates nothing unless the endpoint is ejected.
func (h *OutlierHost) Observe(out Outcome) {
	switch {
	case out.Class == Success:
		now := h.calls.now()
		h.calls.add(now, 1, 0)
		h.spoke(now)
		if h.row.Load() != 0 {
			h.row.Store(0)
		}
	case out.Class == Throttled:
		h.spoke(h.calls.now())
	case out.Failed():
		h.calls.add(h.calls.now(), 1, 1)
		o := h.o
		if n := h.row.Add(1); o.cfg.Consecutive > 0 && int(n)%o.cfg.Consecutive == 0 {
			o.mu.Lock()
			o.eject(h, time.Now(), func() string { return fmt.Sprintf("%d failures in a row", n) })
			o.unlock()
		}
		if !o.armed.Load() {
			o.mu.Lock()
			o.armLocked()
			o.unlock()
		}
	}
}

// eject is called with o.mu held.
func (o *Outlier) eject(h *OutlierHost, now time.Time, why func() string) {
	if o.closed || h.refs == 0 || h.until.After(now) {
		return
	}
	all, out, zone, zoneOut := 1, 0, 1, 0
	for _, x := range o.hosts {
		if x == h || x.refs == 0 {
			continue
		}
		all++
		gone := x.until.After(now)
		if gone {
			out++
		}
		if x.zone == h.zone {
			zone++
			if gone {
				zoneOut++
			}
		}
	}
	may := func(n int) int { return int(float64(n)*o.cfg.MaxShare + 1e-9) }
	switch {
	case zoneOut+1 > max(1, may(zone)):
		if zone < all { // there is another place to go
			o.degrade(h, now, why())
		}
		return
	case out+1 > may(all):
		return
	}
	if h.lastFor > 0 { // forget one ejection for each time as long as the newest
		h.times = max(0, h.times-int(now.Sub(h.back)/h.lastFor))
	}
	h.times++
	h.lastFor = grown(o.cfg.BaseEjection, o.cfg.MaxEjection, h.times, o.cfg.Rand())
	h.until = now.Add(h.lastFor)
	h.back = h.until
	h.forgetCalls()
	o.armLocked()
	e, until := h.ejector, h.until
	o.act(func() { e.Eject(until) })
	o.tell(OutlierEvent{Kind: Ejected, Endpoint: h.key, Zone: h.zone, Reason: why(), Until: until})
}

// forgetCalls: what an endpoint did before says nothing about what it does after.
func (h *OutlierHost) forgetCalls() {
	h.calls.reset()
	h.row.Store(0)
	h.mute.Store(0)
}

// degrade is called with o.mu held.
func (o *Outlier) degrade(h *OutlierHost, now time.Time, why string) {
	until := now.Add(max(o.cfg.BaseEjection, 2*o.cfg.Interval))
	fresh := o.zones[h.zone].IsZero()
	if !fresh && o.zones[h.zone].Sub(now) > until.Sub(now)/2 {
		return // not long ago
	}
	o.zones[h.zone] = until
	o.armLocked()
	o.inZone(h.zone, func(e Ejector) { e.Degrade(until) })
	if fresh {
		o.tell(OutlierEvent{Kind: ZoneDegraded, Endpoint: h.key, Zone: h.zone, Reason: why, Until: until})
	}
}

func (o *Outlier) inZone(zone string, f func(Ejector)) {
	for _, h := range o.hosts {
		if e := h.ejector; h.zone == zone && h.refs > 0 {
			o.act(func() { f(e) })
		}
	}
}

func (o *Outlier) act(f func()) { o.acts = append(o.acts, f) }

func (o *Outlier) tell(ev OutlierEvent) {
	if f := o.cfg.OnEvent; f != nil {
		o.act(func() { f(ev) })
	}
}

// unlock unlocks and then does what is to be done without the lock.
func (o *Outlier) unlock() {
	acts := o.acts
	o.acts = nil
	o.mu.Unlock()
	for _, f := range acts {
		f()
	}
}
