package chain

import (
	"fmt"
	"time"
)

// Profile is what holds where a chain says nothing. The README of this package
// compares the two as a table.
type Profile struct {
	// Name is "consul" or "safe".
	Name string
	// ConnectTimeout bounds the making of a connection.
	ConnectTimeout time.Duration
	// RequestTimeout bounds a whole call with its repeats; not a gRPC stream.
	RequestTimeout time.Duration
	// Attempts is how often a call is made at most where a route says nothing of
	// retries. 1: once.
	Attempts int
	// Overprovision is how much more than its load a target is assumed to carry:
	// below 1/Overprovision of healthy instances traffic goes on to the next. A huge
	// value: only when there is none.
	Overprovision float64
	// PanicBelow is the healthy share below which health is ignored; negative: never.
	PanicBelow float64
	// FailbackAfter is how long a target must be well again before traffic returns;
	// negative: at once.
	FailbackAfter time.Duration
	// SlowStart is how long a new instance takes to its full weight; negative: none.
	SlowStart time.Duration
	// SubsetSize is how many instances a caller connects to; negative: all.
	SubsetSize int
	// Balancing is the policy without one in the chain, by Consul's names;
	// "peak_ewma" is ours.
	Balancing string
	// Consecutive failures eject an instance for EjectFor and its multiples, and
	// never more than MaxEjected of them, from 0 to 1.
	Consecutive int
	EjectFor    time.Duration
	MaxEjected  float64
	// SuccessRate also ejects instances that succeed less than the others. Breaker
	// closes a cloud in which the service fails. RetryBudget bounds all repeats.
	SuccessRate, Breaker, RetryBudget bool
	// MaxConcurrent is how many calls one caller may have open. 0: no fixed number.
	MaxConcurrent int
	// ResolverTimeout makes the RequestTimeout of a service-resolver count behind
	// routers and splitters too. Under Envoy it counts only where neither exists.
	ResolverTimeout bool
}

// The names of the profiles.
const (
	NameConsul = "consul"
	NameSafe   = "safe"
)

// ConsulProfile is what Envoy does under Consul without any entry.
func ConsulProfile() Profile {
	return Profile{
		Name:           NameConsul,
		ConnectTimeout: 5 * time.Second,
		RequestTimeout: 15 * time.Second,
		Attempts:       1,
		Overprovision:  1000, // Consul sets Envoy's factor to 100000 %
		PanicBelow:     -1,
		FailbackAfter:  -1,
		SlowStart:      -1,
		SubsetSize:     -1,
		Balancing:      "round_robin",
		Consecutive:    5,
		EjectFor:       30 * time.Second,
		MaxEjected:     0.1,
		MaxConcurrent:  1024,
	}
}

// SafeProfile is our default.
func SafeProfile() Profile {
	return Profile{
		Name:            NameSafe,
		ConnectTimeout:  3 * time.Second,
		RequestTimeout:  30 * time.Second,
		Attempts:        3,
		Overprovision:   1.4,
		PanicBelow:      0.5,
		FailbackAfter:   10 * time.Second,
		SlowStart:       30 * time.Second,
		SubsetSize:      16,
		Balancing:       "peak_ewma",
		Consecutive:     5,
		EjectFor:        5 * time.Second,
		MaxEjected:      0.5,
		SuccessRate:     true,
		Breaker:         true,
		RetryBudget:     true,
		ResolverTimeout: true,
	}
}

// ProfileOf is the profile of that name; empty: safe.
func ProfileOf(name string) (Profile, error) {
	switch name {
	case NameConsul:
		return ConsulProfile(), nil
	case NameSafe, "":
		return SafeProfile(), nil
	}
	return Profile{}, fmt.Errorf("resolver/chain: there is no profile %q; use %q or %q", clip(name), NameConsul, NameSafe)
}
