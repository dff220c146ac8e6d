package resilience

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Why a gate refused a call. Test for them with errors.Is.
var (
	// ErrOpen: a Breaker is open.
	ErrOpen = errors.New("circuit open")
	// ErrThrottled: a Throttle holds calls back, because the service refused too many.
	ErrThrottled = errors.New("throttled by this client")
	// ErrConcurrency: a ConcurrencyLimit has no place for a call of this priority.
	ErrConcurrency = errors.New("too many calls at a time")
	// ErrRate: a RateLimit has no token left.
	ErrRate = errors.New("too many calls per second")
	// ErrFault: a Fault aborted the call.
	ErrFault = errors.New("injected fault")
)

// RefusedKey marks a reply of our own servers, in a gRPC trailer or HTTP header,
// that a gate gave instead of the handler: the endpoint is alive, refuses load or is too
// slow for the request's deadline, and has done nothing. Its value is "1".
const RefusedKey = "weft-refused"

// Refused is the error of a gate that did not let a call go. It unwraps to one of
// ErrOpen, ErrThrottled, ErrConcurrency, ErrRate and ErrFault.
type Refused struct {
	// Reason is the sentinel.
	Reason error
	// Service and Cloud are what was called; empty if unknown.
	Service, Cloud string
	// RetryAfter is when to try again; zero if nobody knows.
	RetryAfter time.Duration
	// Code is the gRPC status code, Status the HTTP status that Fault wants the
	// caller to see; zero: that of the reason.
	Code, Status int
	// Outcome is what the refusal counts as: Neutral and unsent, but for a Fault,
	// which acts as if the endpoint had failed.
	Outcome Outcome
}

// Error says what refused the call, and when it may be let through.
func (r *Refused) Error() string {
	var b strings.Builder
	b.WriteString("resilience: ")
	b.WriteString(r.Reason.Error())
	if r.Service != "" {
		fmt.Fprintf(&b, " for service %q", clip(r.Service))
	}
	if r.Cloud != "" {
		fmt.Fprintf(&b, " in cloud %q", clip(r.Cloud))
	}
	if r.RetryAfter > 0 {
		fmt.Fprintf(&b, "; try again in %v", r.RetryAfter.Round(time.Millisecond))
	}
	return b.String()
}

// Unwrap is the reason.
func (r *Refused) Unwrap() error { return r.Reason }

// OutcomeOf is what an error of [Gate.Enter] counts as for loops and outer gates.
// An error that is not a [Refused] is Neutral and unsent.
func OutcomeOf(err error) Outcome {
	var r *Refused
	if errors.As(err, &r) {
		return r.Outcome
	}
	return Outcome{Unsent: true}
}

func refuse(reason error, in *Info, after time.Duration) *Refused {
	return &Refused{Reason: reason, Service: in.Service, Cloud: in.Cloud, RetryAfter: after, Outcome: Outcome{Unsent: true}}
}

// clip bounds foreign text that goes into an error.
func clip(s string) string {
	if len(s) > 128 {
		return s[:128] + "…"
	}
	return s
}

// nothing is the done of a gate that does not want to know.
func nothing(Outcome) {}
