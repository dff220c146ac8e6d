package resilience

import (
	"context"
	"log/slog"
	"strconv"
	"sync/atomic"
)

// Names of metadata and headers that stop chains of retries. They are the same
// in gRPC metadata, gRPC trailers and HTTP headers where not said otherwise.
const (
	// RetriedKey marks a failed reply, in a gRPC trailer or HTTP header: a layer
	// below has already repeated the work or has no budget to. Its value is "1".
	// Who gets it does not retry and marks its own reply.
	RetriedKey = "weft-retried"
	// AttemptKey is the HTTP request header with the number of the attempt, from 2;
	// the first attempt has none.
	AttemptKey = "weft-attempt"
	// GRPCAttemptKey is gRPC's own name (gRFC A6) for the number of attempts that
	// came before, from 1; the first attempt has none.
	GRPCAttemptKey = "grpc-previous-rpc-attempts"
)

// maxAttemptNumber is the highest attempt number that is believed.
const maxAttemptNumber = 1000

// Inbound is a request being served, as far as the calls made for it must know
// it. A server's face puts it in the context of the handler.
//
// It keeps retries at one layer of a chain of services. If each of four layers
// makes three attempts, the last gets 81 times the load. So a call that is made
// for a request that is itself a repeat is repeated only if it certainly was not
// sent; and a reply that failed after retries, or for want of budget, tells the
// layer above not to retry ([RetriedKey]).
type Inbound struct {
	// Attempt is the number of the request's attempt, from 1.
	Attempt int

	retried  atomic.Bool
	reserved bool // and not in use yet
}

// Reserve makes in the Inbound of a request, for a server that has it in a context
// of its own, whose Value asks in's, and so saves [NewInbound] its allocation.
func (in *Inbound) Reserve(attempt int) {
	in.Attempt, in.reserved = max(attempt, 1), true
}

// Value is for the Value of the context that in is in; nil: ask on.
func (in *Inbound) Value(key any) any {
	if key == (inboundKey{}) {
		return in
	}
	return nil
}

type inboundKey struct{}

type inboundContext struct {
	context.Context
	in Inbound
}

func (c *inboundContext) Value(key any) any {
	if key == (inboundKey{}) {
		return &c.in
	}
	return c.Context.Value(key)
}

// reservedIn is the Inbound that a server has reserved for the request; else nil.
func reservedIn(ctx context.Context) *Inbound {
	if in := InboundFrom(ctx); in != nil && in.reserved {
		in.reserved = false
		return in
	}
	return nil
}

// NewInbound is the context of a handler, and the request in it. attempt is the
// number of the request's attempt; less than 1 is 1.
func NewInbound(ctx context.Context, attempt int) (context.Context, *Inbound) {
	c := &inboundContext{Context: ctx}
	c.in.Attempt = max(attempt, 1)
	return c, &c.in
}

// InboundFrom is the request that the context belongs to, or nil.
func InboundFrom(ctx context.Context) *Inbound {
	in, _ := ctx.Value(inboundKey{}).(*Inbound)
	return in
}

// Retried reports whether a call made for the request failed after retries, so
// that a failed reply gets the mark.
func (in *Inbound) Retried() bool { return in.retried.Load() }

// note keeps what a call for the request came to.
func (in *Inbound) note(r *Result) {
	if in == nil || !r.Outcome.Failed() && r.Outcome.Class != Throttled {
		return
	}
	if r.Attempts > 1 || r.Stop == StopServer || r.Stop == StopBudget || r.Stop == StopChain {
		in.retried.Store(true)
	}
}

// InboundConfig is what a server's [GRPCInbound] or [HTTPInbound] does.
type InboundConfig struct {
	// Service is our own name in Info; empty is allowed.
	Service string
	// Deadline refuses requests that are too late; nil: nothing is refused. It may
	// be shared by both transports.
	Deadline *DeadlineGate
	// Logger is told of handlers' panics, as event "panic.recovered" with the stack;
	// each becomes one failed request. nil: panics are not caught here.
	Logger *slog.Logger
	// Untrusted ignores what callers say about attempts and, over HTTP, about
	// deadlines: set it where callers are not of the mesh. False: they are believed.
	Untrusted bool
}

// ParseAttempt reads the value of [AttemptKey]. A value that cannot be read is 1.
func ParseAttempt(s string) int { return parseCount(s, 1) }

// ParsePreviousAttempts reads the value of [GRPCAttemptKey] and returns the
// number of the attempt. A value that cannot be read is 1.
func ParsePreviousAttempts(s string) int {
	return min(parseCount(s, 0)+1, maxAttemptNumber)
}

// parseCount reads digits only, at most nine of them.
func parseCount(s string, least int) int {
	if len(s) == 0 || len(s) > 9 {
		return least
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return least
		}
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return least
	}
	return min(max(n, least), maxAttemptNumber)
}
