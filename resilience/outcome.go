package resilience

import (
	"strconv"
	"time"
)

// Class is what an attempt says about the endpoint that served it.
type Class uint8

const (
	// Neutral says nothing about the endpoint: the caller cancelled or ran out of
	// its own time, or the attempt was refused before it was made.
	Neutral Class = iota
	// Success: the endpoint did its work. A reply that blames the caller
	// (InvalidArgument, 404) is a success of the endpoint.
	Success
	// Failure: the endpoint failed, and the work may have been done.
	Failure
	// Retryable: the endpoint failed in a way that another attempt may cure
	// (Unavailable, 503).
	Retryable
	// Throttled: the endpoint is alive and refuses load (ResourceExhausted, 429).
	Throttled
)

// String is the class in lower case.
func (c Class) String() string {
	switch c {
	case Neutral:
		return "neutral"
	case Success:
		return "success"
	case Failure:
		return "failure"
	case Retryable:
		return "retryable"
	case Throttled:
		return "throttled"
	}
	return "class(" + strconv.Itoa(int(c)) + ")"
}

// Outcome is the one classification of an attempt. The zero value is Neutral.
type Outcome struct {
	// Class is what the attempt says about the endpoint.
	Class Class
	// Unsent means that no byte of the request left the process, or that the
	// server said it did not process it: repeating it is safe even if the call is
	// not idempotent.
	Unsent bool
	// RetryAfter is how long the server asked to wait; zero if it did not ask,
	// negative if it asked not to retry at all.
	RetryAfter time.Duration
	// Silent means that the caller's own deadline ended the attempt, which was sent,
	// before a byte of an answer came. It is Neutral: one says nothing, a row of them
	// may. See [OutlierHost.Silent].
	Silent bool

	// Code is what the endpoint answered: the HTTP status, or the gRPC status code,
	// which is below 100. 0: nothing, or gRPC's OK.
	Code uint16

	once bool // the request is used up and cannot be made again
}

// Failed reports whether the endpoint is to blame.
func (o Outcome) Failed() bool { return o.Class == Failure || o.Class == Retryable }

// free reports whether repeating the attempt adds nothing to anyone's load, so that it is
// not taken from a budget: it went nowhere, or load was refused at once with a time to
// come back. What a server was too slow for is not free, though it was not done: where all
// are slow, each of them would be asked.
func (o Outcome) free() bool {
	return o.Unsent && !(o.Class == Retryable && (o.Code == codeDeadlineExceeded || o.Code == 504))
}
