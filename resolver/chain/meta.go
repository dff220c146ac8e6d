package chain

import (
	"time"

	"github.com/weft-mesh/weft/resolver"
)

// The keys in the Meta of a service-defaults entry that say what Consul has no field
// for. Keys that begin with "weft-" and are not among them are problems. The README
// of this package has a table of them.
const (
	KeyProfile          = "weft-profile"
	KeyMirror           = "weft-mirror"
	KeyMirrorPercent    = "weft-mirror-percent"
	KeyFaultDelay       = "weft-fault-delay"
	KeyFaultDelayShare  = "weft-fault-delay-percent"
	KeyFaultAbort       = "weft-fault-abort"
	KeyFaultAbortShare  = "weft-fault-abort-percent"
	KeyHedge            = "weft-hedge"
	KeyHedgeMethods     = "weft-hedge-methods"
	KeyActive           = "weft-active-subset"
	KeySticky           = "weft-sticky"
	KeyClouds           = "weft-allowed-clouds"
	KeyRegions          = "weft-allowed-regions"
	KeyLocalityFailover = "weft-locality-failover"
	KeyGuardErrors      = "weft-guard-max-errors"
	KeyGuardLatency     = "weft-guard-max-latency-ratio"
	KeyGuardVolume      = "weft-guard-min-volume"
	KeyGuardWindow      = "weft-guard-window"
	KeyGuardHold        = "weft-guard-hold"
	KeyGuardBaseline    = "weft-guard-baseline"
)

// Policy is what a service asks of its callers beyond Consul's fields. The zero
// value asks for nothing.
type Policy struct {
	// Profile is "consul" or "safe". Empty: safe.
	Profile string
	// Mirror sends copies of calls to another service. Zero: none.
	Mirror Mirror
	// Fault harms calls, to see what happens. Zero: none.
	Fault Fault
	// Hedge makes slow calls a second time. Zero: never.
	Hedge Hedge
	// Active is the subset that takes all traffic of a splitter, whatever the weights.
	// Empty: the weights hold.
	Active string
	// Sticky are the sources of the key that keeps a user on one branch of a split,
	// tried in order: "header:x-user-id" (for gRPC that is metadata), "cookie:sid" or
	// "query:user". Empty: each call is drawn, unless the caller gives a key.
	Sticky []string
	// Residency bounds where instances may be. Zero: anywhere.
	Residency Residency
	// LocalityFailover sends calls by the caller's locality before the order of the
	// targets. nil: as the caller's balancer is set.
	LocalityFailover *bool
	// Guard takes a bad branch of a split out. Zero: nothing is watched.
	Guard Objective
}

// Mirror says what is mirrored.
type Mirror struct {
	// Service is the name of the service that gets the copies; empty: none.
	Service string
	// Percent is how many calls are copied, in steps of 0.01.
	Percent float64
}

// Fault is a harm for some of the calls.
type Fault struct {
	// Delay is how long DelayPercent of the calls wait first. 0: none.
	Delay        time.Duration
	DelayPercent float64
	// Code, a gRPC status code, and Status, an HTTP status, are what AbortPercent of
	// the calls fail with. 0: none.
	Code, Status int
	AbortPercent float64
}

// Hedge says when a call is made twice at a time.
type Hedge struct {
	// Enabled switches it on.
	Enabled bool
	// Delay is when the second attempt starts. 0: the live p95.
	Delay time.Duration
	// Methods are those that may be hedged; empty: all that are idempotent.
	Methods []string
}

// Residency is where instances may be. An instance whose cloud or region is not
// known is outside of a list.
type Residency struct {
	// Clouds and Regions are the allowed ones. Empty: any.
	Clouds, Regions []string
}

// Any reports whether everything is allowed.
func (r Residency) Any() bool { return len(r.Clouds) == 0 && len(r.Regions) == 0 }

// Allows reports whether an instance may be at a place.
func (r Residency) Allows(l resolver.Locality) bool {
	return (len(r.Clouds) == 0 || l.Cloud != "" && oneOf(r.Clouds, l.Cloud)) &&
		(len(r.Regions) == 0 || l.Region != "" && oneOf(r.Regions, l.Region))
}

// Objective is what a branch of a split has to reach next to the baseline, or it
// is taken out. It needs MaxErrors or MaxLatency to be set.
type Objective struct {
	// MaxErrors is by how much the share of failed calls may be above the baseline's,
	// from 0 to 1: 0.01 is one percentage point. 0: errors are not judged.
	MaxErrors float64
	// MaxLatency is how many times the baseline's p99 the branch's may be, more than 1.
	// 0: latency is not judged.
	MaxLatency float64
	// MinVolume is how many calls of the branch, and of the baseline, a window must
	// have before it is judged. 0: 50.
	MinVolume int
	// Window is the time whose calls count. 0: 10 s.
	Window time.Duration
	// Hold is how long a branch stays out; after each return that fails twice as long,
	// up to 16 times. It then returns over the same time. 0: 1 min.
	Hold time.Duration
	// Baseline is the subset to compare with. Empty: the first split.
	Baseline string
}

// On reports whether the objective judges anything.
func (o Objective) On() bool { return o.MaxErrors > 0 || o.MaxLatency > 0 }

func (o Objective) withDefaults() Objective {
	if o.MinVolume <= 0 {
		o.MinVolume = 50
	}
	if o.Window <= 0 {
		o.Window = 10 * time.Second
	}
	if o.Hold <= 0 {
		o.Hold = time.Minute
	}
	return o
}
