package resilience

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// FaultRule does harm to some calls. Its empty fields match every call.
type FaultRule struct {
	// Service and Cloud are whom the call must go to; empty: anyone. Cloud matches
	// only where a gate is entered for each attempt, with Info.Cloud known: see
	// Fault.PerAttempt.
	Service, Cloud string
	// MethodPrefix begins Info.Method, or Info.Path for HTTP; empty: all.
	MethodPrefix string
	// Header is a request header that the call must have, with HeaderValue if that
	// is not empty. Empty: none is needed.
	Header, HeaderValue string
	// Percent is how many of the matching calls are hit, in steps of 0.01. 0: none.
	Percent float64
	// Delay is how long a hit call waits first, at most an hour. 0: not at all.
	Delay time.Duration
	// Code is the gRPC status code, 1 to 16, and Status the HTTP status, 400 to 599,
	// that a hit call fails with; give one or both. 0: it goes on.
	Code, Status int
	// BlackHole lets a hit call hang until its context ends, or an hour is over.
	// False: it does not.
	BlackHole bool
}

// FaultConfig says what a Fault may do. The zero value does nothing until Set.
type FaultConfig struct {
	// Rules are the first rules; see [Fault.Set]. Empty: none.
	Rules []FaultRule
	// AllowHeader says whether a call may bring a fault for itself in the header
	// FaultKey. Who can set headers can then slow and fail calls, so decide by
	// Info.Caller or Info.Method. nil: no call may.
	AllowHeader func(in *Info) bool
	// MaxHeaderDelay bounds the delay, and the black hole, of FaultKey. 0: 5 s.
	MaxHeaderDelay time.Duration
	// Rand draws the calls to be hit, 0 to 1. nil: math/rand/v2.
	Rand func() float64
}

const maxFaultDelay = time.Hour

// Fault is a Gate that delays, aborts and swallows calls, to see what a system
// does then (Envoy's fault filter). The first rule that matches and draws a call
// hits it. Rules change at any time, and Kill ends it all at once, for calls that
// wait already too.
type Fault struct {
	cfg   FaultConfig
	rules atomic.Pointer[faultRules]

	mu     sync.Mutex
	wanted []FaultRule
	killed bool
}

type faultRules struct {
	list []FaultRule
	on   bool
	over chan struct{} // closed when others take effect
}

// NewFault makes a Fault. It refuses a senseless FaultConfig, naming the field.
func NewFault(cfg FaultConfig) (*Fault, error) {
	var ck checks
	ck.span("FaultConfig.MaxHeaderDelay", &cfg.MaxHeaderDelay, 0, 5*time.Second)
	if ck.err != nil {
		return nil, ck.err
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Float64
	}
	f := &Fault{cfg: cfg}
	f.rules.Store(&faultRules{on: true, over: make(chan struct{})})
	if err := f.Set(cfg.Rules); err != nil {
		return nil, err
	}
	return f, nil
}

// Set replaces the rules. It refuses senseless ones, naming the field, and then
// changes nothing. While killed, they wait for Revive. Calls that wait for a
// delay or in a black hole of the rules before go on.
func (f *Fault) Set(rules []FaultRule) error {
	for i, r := range rules {
		if err := r.check(fmt.Sprintf("FaultRule[%d].", i)); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wanted = slices.Clone(rules)
	f.apply()
	return nil
}

// Kill ends all faults, those by header too, until Revive.
func (f *Fault) Kill() { f.kill(true) }

// Revive lets the rules take effect again.
func (f *Fault) Revive() { f.kill(false) }

func (f *Fault) kill(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.killed = on
	f.apply()
}

// apply is called with f.mu held.
func (f *Fault) apply() {
	r := &faultRules{on: !f.killed, over: make(chan struct{})}
	if r.on {
		r.list = f.wanted
	}
	close(f.rules.Swap(r).over)
}

// Active reports whether any fault can happen now.
func (f *Fault) Active() bool {
	r := f.rules.Load()
	return r.on && (len(r.list) > 0 || f.cfg.AllowHeader != nil)
}

func (r *FaultRule) check(at string) error {
	var ck checks
	if p := r.Percent * 100; !(p >= 0 && p <= 10_000) || p != 0 && math.Abs(p-math.Round(p)) > 1e-6 {
		ck.fail(at+"Percent", r.Percent, "use 0 to 100 in steps of 0.01")
	}
	if r.Delay < 0 || r.Delay > maxFaultDelay {
		ck.fail(at+"Delay", r.Delay, "use 0 to 1h")
	}
	if r.Code < 0 || r.Code > 16 {
		ck.fail(at+"Code", r.Code, "use a gRPC status code, 1 to 16, or 0 for none")
	}
	if r.Status != 0 && (r.Status < 400 || r.Status > 599) {
		ck.fail(at+"Status", r.Status, "use an HTTP status of 400 to 599, or 0 for none")
	}
	if r.HeaderValue != "" && r.Header == "" {
		ck.fail(at+"HeaderValue", fmt.Sprintf("%q", clip(r.HeaderValue)), "name the Header that must have it")
	}
	return ck.err
}

func (r *FaultRule) matches(in *Info) bool {
	if r.Service != "" && r.Service != in.Service || r.Cloud != "" && r.Cloud != in.Cloud {
		return false
	}
	if r.MethodPrefix != "" && !strings.HasPrefix(in.Method, r.MethodPrefix) && !strings.HasPrefix(in.Path, r.MethodPrefix) {
		return false
	}
	if r.Header == "" {
		return true
	}
	if in.Header == nil {
		return false
	}
	v := in.Header(r.Header)
	return v != "" && (r.HeaderValue == "" || v == r.HeaderValue)
}

// Enter implements [Gate]. Without a rule that matches it takes no lock and
// allocates nothing.
func (f *Fault) Enter(ctx context.Context, in *Info) (func(Outcome), error) {
	rules := f.rules.Load()
	if !rules.on {
		return nothing, nil
	}
	if r := f.drawn(rules, in, false); r != nil {
		return f.hit(ctx, in, rules, *r, maxFaultDelay)
	}
	if f.cfg.AllowHeader != nil && in.Header != nil {
		if v := in.Header(FaultKey); v != "" && f.cfg.AllowHeader(in) {
			if r, ok := ParseFault(v); ok && int(f.cfg.Rand()*10_000) < int(math.Round(r.Percent*100)) {
				r.Delay = min(r.Delay, f.cfg.MaxHeaderDelay)
				return f.hit(ctx, in, rules, r, f.cfg.MaxHeaderDelay)
			}
		}
	}
	return nothing, nil
}

// drawn is the first rule that matches and draws the call; nil: none.
func (f *Fault) drawn(rules *faultRules, in *Info, cloudsOnly bool) *FaultRule {
	for i := range rules.list {
		r := &rules.list[i]
		if (r.Cloud != "" || !cloudsOnly) && r.matches(in) && int(f.cfg.Rand()*10_000) < int(math.Round(r.Percent*100)) {
			return r
		}
	}
	return nil
}

// PerAttempt is a Gate of the rules that name a Cloud, to be entered for each
// attempt when its endpoint is known, where Fault itself is entered once per call.
// So the two never hit a call for the same rule: a rule with a Cloud hits attempts,
// which may be made again elsewhere, and one without hits the call as a whole.
func (f *Fault) PerAttempt() Gate { return attemptFault{f} }

type attemptFault struct{ f *Fault }

func (a attemptFault) Enter(ctx context.Context, in *Info) (func(Outcome), error) {
	rules := a.f.rules.Load()
	if in.Cloud != "" {
		if r := a.f.drawn(rules, in, true); r != nil {
			return a.f.hit(ctx, in, rules, *r, maxFaultDelay)
		}
	}
	return nothing, nil
}

func (f *Fault) hit(ctx context.Context, in *Info, rules *faultRules, r FaultRule, most time.Duration) (func(Outcome), error) {
	wait := r.Delay
	if r.BlackHole {
		wait = most
	}
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-rules.over:
			return nothing, nil
		case <-ctx.Done():
			o := Outcome{Class: Retryable}
			if end, _ := CallDeadline(ctx); CallerEnded(ctx, end) {
				o.Class = Neutral
			}
			return nil, fmt.Errorf("%w: %w", &Refused{Reason: ErrFault, Service: in.Service, Cloud: in.Cloud, Outcome: o}, ctx.Err())
		}
	}
	if r.BlackHole && r.Code == 0 && r.Status == 0 {
		r.Code = codeUnavailable
	}
	if r.Code == 0 && r.Status == 0 {
		return nothing, nil
	}
	e := &Refused{Reason: ErrFault, Service: in.Service, Cloud: in.Cloud, Code: r.Code, Status: r.Status}
	e.Outcome.Class = faultClass(r.Code, r.Status)
	return nil, e
}
