package resilience

import (
	"math/rand/v2"
	"time"
)

// OutlierConfig says which endpoints are ejected, and for how long. The zero
// value is a safe default. A negative Consecutive, StdevFactor or
// FailurePercent turns that detector off.
type OutlierConfig struct {
	// Consecutive is how many failures in a row eject at once, silent attempts (see
	// OutlierHost.Silent) among them. 0: 5 (Envoy consecutive_5xx); negative: any
	// number.
	Consecutive int
	// Interval is how often the rates are looked at; nothing runs while nobody
	// fails. 0: 2 s.
	Interval time.Duration
	// Window is the time over which rates are counted. 0: 10 s (gRFC A50 interval).
	Window time.Duration
	// StdevFactor is how many standard deviations, estimated by 1.4826 times the
	// median absolute deviation, an endpoint's success rate may be below the
	// median of the pool. It must be 5 points below as well. 0: 3; negative: any.
	StdevFactor float64
	// MinHosts and MinCalls are how many endpoints, with how many calls each, the
	// comparison of success rates needs. 0: 5 and 100 (gRFC A50).
	MinHosts, MinCalls int
	// FailurePercent is the share of failures that ejects whatever the others do,
	// at most 100. 0: 85 (gRFC A50 failure_percentage threshold); negative: any.
	FailurePercent float64
	// FailureCalls is how many calls FailurePercent needs. 0: 50 (gRFC A50).
	FailureCalls int
	// BaseEjection is the first time of ejection; each further one soon after
	// doubles it. 20 % of jitter keeps clients apart. 0: 5 s.
	BaseEjection time.Duration
	// MaxEjection bounds the growth of BaseEjection. 0: 300 s (Envoy
	// max_ejection_time), or BaseEjection if that is more.
	MaxEjection time.Duration
	// MaxShare is the share of a zone's endpoints, and of all, that may be ejected
	// at a time, at most 1. A zone may always lose one endpoint while the pool has
	// others. Keep it at most 1 less the balancer's PanicBelow. 0: 0.5.
	MaxShare float64
	// OnEvent is told what happens, without a lock held. nil: nobody.
	OnEvent func(OutlierEvent)
	// Rand gives the jitter, 0 to 1. nil: math/rand/v2.
	Rand func() float64
}

func (c OutlierConfig) withDefaults() (OutlierConfig, error) {
	var ck checks
	if c.Consecutive == 0 {
		c.Consecutive = 5
	}
	ck.span("OutlierConfig.Interval", &c.Interval, 10*time.Millisecond, 2*time.Second)
	ck.span("OutlierConfig.Window", &c.Window, 10*time.Millisecond, 10*time.Second)
	if !(c.StdevFactor < 0) {
		ck.number("OutlierConfig.StdevFactor", &c.StdevFactor, 0, 3)
	}
	ck.count("OutlierConfig.MinHosts", &c.MinHosts, 3, 5)
	ck.count("OutlierConfig.MinCalls", &c.MinCalls, 1, 100)
	if c.FailurePercent == 0 {
		c.FailurePercent = 85
	}
	if !(c.FailurePercent <= 100) {
		ck.fail("OutlierConfig.FailurePercent", c.FailurePercent, "use at most 100, or 0 for 85")
	}
	ck.count("OutlierConfig.FailureCalls", &c.FailureCalls, 1, 50)
	ck.span("OutlierConfig.BaseEjection", &c.BaseEjection, time.Millisecond, 5*time.Second)
	ck.span("OutlierConfig.MaxEjection", &c.MaxEjection, c.BaseEjection, max(300*time.Second, c.BaseEjection))
	ck.ratio("OutlierConfig.MaxShare", &c.MaxShare, 0.5)
	if c.Rand == nil {
		c.Rand = rand.Float64
	}
	return c, ck.err
}

// OutlierKind is what an OutlierEvent tells.
type OutlierKind uint8

const (
	// Ejected: an endpoint gets no calls until Until.
	Ejected OutlierKind = iota
	// Returned: an ejected endpoint gets calls again, slowly.
	Returned
	// ZoneDegraded: an endpoint should be ejected and too many of its zone are, so
	// the zone as a whole gives calls away instead.
	ZoneDegraded
	// ZoneRestored: a degraded zone is whole again.
	ZoneRestored
)

// String is "ejected", "returned", "zone degraded" or "zone restored".
func (k OutlierKind) String() string {
	return [...]string{"ejected", "returned", "zone degraded", "zone restored"}[min(k, ZoneRestored)]
}

// OutlierEvent is one thing that an Outlier did.
type OutlierEvent struct {
	// Kind is what it did.
	Kind OutlierKind
	// Endpoint is whom it was about; empty for ZoneRestored.
	Endpoint string
	// Zone is the endpoint's zone.
	Zone string
	// Reason is why, for people; empty for a return.
	Reason string
	// Until is when an ejection or degradation ends; zero for a return.
	Until time.Time
}
