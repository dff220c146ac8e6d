package chain

import (
	"slices"
	"strings"
)

// RetryOn is a set of conditions of Envoy's retry policy.
type RetryOn uint16

// The conditions, by Envoy's names: "5xx", "gateway-error", and so on.
const (
	On5xx RetryOn = 1 << iota
	OnGatewayError
	OnReset
	OnConnectFailure
	OnEnvoyRateLimited
	OnRetriable4xx
	OnRefusedStream
	OnCancelled
	OnDeadlineExceeded
	OnInternal
	OnResourceExhausted
	OnUnavailable
	OnStatusCodes
)

// conditions are the names in the order of the bits.
func conditions() []string {
	return []string{"5xx", "gateway-error", "reset", "connect-failure", "envoy-ratelimited", "retriable-4xx", "refused-stream",
		"cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable", "retriable-status-codes"}
}

// String is the names joined by commas, as in Envoy.
func (o RetryOn) String() string {
	var names []string
	for i, n := range conditions() {
		if o&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return strings.Join(names, ",")
}

// RetryRule says when a route repeats calls. Whether a call may be repeated at all,
// because it is idempotent or was not sent, is for the caller to ask first: Envoy
// does not.
type RetryRule struct {
	// Attempts is how often the call is made at most, the first time included.
	Attempts int
	// On are the conditions of which one must hold; none: it is never repeated, as in
	// Envoy.
	On RetryOn
	// Codes are the HTTP statuses of OnStatusCodes.
	Codes []uint32
}

// Reply is what a RetryRule reads of the end of an attempt.
type Reply struct {
	// Status is the HTTP status. 0: there was no response.
	Status int
	// Code is the gRPC status code. 0: it is OK, or the call is no gRPC call.
	Code int
	// NotConnected means that no connection was made, Refused that the server refused
	// the stream without looking at it, Reset that there was no response for any reason,
	// these two included. RateLimited means that the response said x-envoy-ratelimited.
	NotConnected, Refused, Reset, RateLimited bool
}

// Again reports whether the rule repeats a call that ended so.
func (r *RetryRule) Again(x Reply) bool {
	on := r.On
	if x.Reset || x.NotConnected || x.Refused {
		return on&(On5xx|OnGatewayError|OnReset) != 0 ||
			x.NotConnected && on&OnConnectFailure != 0 ||
			x.Refused && on&OnRefusedStream != 0
	}
	if x.RateLimited {
		return on&OnEnvoyRateLimited != 0
	}
	s := x.Status
	switch {
	case on&On5xx != 0 && s >= 500 && s < 600,
		on&OnGatewayError != 0 && s >= 502 && s <= 504,
		on&OnRetriable4xx != 0 && s == 409,
		on&OnStatusCodes != 0 && s > 0 && slices.Contains(r.Codes, uint32(s)):
		return true
	}
	switch x.Code {
	case 1:
		return on&OnCancelled != 0
	case 4:
		return on&OnDeadlineExceeded != 0
	case 8:
		return on&OnResourceExhausted != 0
	case 13:
		return on&OnInternal != 0
	case 14:
		return on&OnUnavailable != 0
	}
	return false
}

// maxRetries bounds NumRetries.
const maxRetries = 99

// retry compiles what a route says of retries; nil if it says nothing.
func (b *evalCompiler) retry(d *RouteDestination, router, at string) *RetryRule {
	if d.NumRetries == 0 && !d.RetryOnConnectFailure && len(d.RetryOn) == 0 && len(d.RetryOnStatusCodes) == 0 {
		return nil
	}
	n := d.NumRetries
	switch {
	case n == 0:
		n = 1 // Envoy's default
	case n > maxRetries:
		b.p.add(kindRouter, router, at+".NumRetries", "it is taken for 99")
		n = maxRetries
	}
	r := &RetryRule{Attempts: int(n) + 1, Codes: d.RetryOnStatusCodes}
	known := conditions()
	for _, s := range d.RetryOn {
		i := slices.Index(known, s)
		if i < 0 || s == "retriable-status-codes" {
			b.p.add(kindRouter, router, at+".RetryOn", "condition "+clip(s)+" is not known; it is left out")
			continue
		}
		r.On |= 1 << i
	}
	if d.RetryOnConnectFailure {
		r.On |= OnConnectFailure
	}
	if len(r.Codes) > 0 {
		r.On |= OnStatusCodes
	}
	if r.On == 0 {
		b.p.add(kindRouter, router, at+".NumRetries", "without RetryOn, RetryOnConnectFailure or RetryOnStatusCodes nothing is repeated, as in Envoy")
	}
	return r
}
