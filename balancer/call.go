package balancer

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/weft-mesh/weft/resilience"
)

// Call is what one logical call carries through the rooms of the mesh. The
// client face makes it once and puts it in the context; each attempt's pick
// reads it and writes down whom it chose. Attempts of one call may run at the
// same time (hedges), so a pick writes only atomics.
type Call struct {
	// Service is the name that was called, for example "payments".
	Service string
	// Method is the full gRPC method, "/pay.Pay/Charge", or the HTTP method, "GET".
	Method string
	// Path is the HTTP path, "/items/7"; empty for gRPC.
	Path string
	// Lane is which Lane of the service balances the call. Empty: the service's own.
	Lane string
	// Hash is the key of RingHash and Maglev; it counts only if HasHash is set.
	Hash    uint64
	HasHash bool
	// Stream marks a call that lasts as long as its parties like, as a gRPC stream
	// does: its duration is no latency of the endpoint.
	Stream bool
	// Deadline is when the caller's own time for the whole call ends. Whoever gives
	// an attempt less time sets it, so that the attempt's timeout counts against
	// the endpoint. Zero: the deadline of the context is the caller's.
	Deadline time.Time

	// Each pick takes the next place. Beyond the array the last place is overwritten:
	// enough for any sane number of attempts.
	tried    [4]atomic.Pointer[Node]
	verdict  resilience.Verdict // of the newest attempt
	attempts atomic.Int32
	ended    atomic.Int64 // Now() at the end of the newest unary attempt, or at its HTTP response
}

// Attempts is how many picks the call has had.
func (c *Call) Attempts() int { return int(c.attempts.Load()) }

// Ended is when the newest attempt ended, a value of [Now], for those who would read the
// clock once more; over HTTP when it was answered with a response. 0 before, and for streams.
func (c *Call) Ended() int64 { return c.ended.Load() }

// Last is the node that the newest attempt went to, or nil before the first pick.
func (c *Call) Last() *Node {
	n := c.attempts.Load()
	if n == 0 {
		return nil
	}
	return c.tried[min(int(n), len(c.tried))-1].Load()
}

// At is the node that pick i went to, from 0, or nil. Picks beyond the fourth share
// a place.
func (c *Call) At(i int) *Node {
	if i < 0 || i >= int(c.attempts.Load()) {
		return nil
	}
	return c.tried[min(i, len(c.tried)-1)].Load()
}

// Tried reports whether an attempt of the call already went to n.
func (c *Call) Tried(n *Node) bool {
	for i := range min(int(c.attempts.Load()), len(c.tried)) {
		if c.tried[i].Load() == n {
			return true
		}
	}
	return false
}

// chose records a pick.
func (c *Call) chose(n *Node) {
	i := int(c.attempts.Add(1)) - 1
	c.tried[min(i, len(c.tried)-1)].Store(n)
}

type (
	callKey struct{}
	hashKey struct{}
)

// callContext carries a call; one allocation for both.
type callContext struct {
	context.Context
	call Call
}

func (c *callContext) Value(key any) any {
	switch key {
	case callKey{}:
		return &c.call
	case resilience.VerdictKey{}:
		return &c.call.verdict
	}
	return c.Context.Value(key)
}

// NewCall begins a logical call: a context that carries it, and the call, to be
// completed before the context is used. It takes the hash key of [WithHash].
func NewCall(ctx context.Context, service, method string) (context.Context, *Call) {
	c := &callContext{}
	c.begin(ctx, service, method)
	return c, &c.call
}

func (c *callContext) begin(ctx context.Context, service, method string) {
	c.Context = ctx
	c.call.Service, c.call.Method = service, method
	if h, ok := ctx.Value(hashKey{}).(uint64); ok {
		c.call.Hash, c.call.HasHash = h, true
	}
}

// CallFrom returns the context's call, or nil.
func CallFrom(ctx context.Context) *Call {
	c, _ := ctx.Value(callKey{}).(*Call)
	return c
}

// WithHash sets the hash key of the calls made with the context.
func WithHash(ctx context.Context, hash uint64) context.Context {
	return context.WithValue(ctx, hashKey{}, hash)
}

// HashString is the hash of a key for Call.Hash: FNV-1a with a final mix,
// stable across processes and releases.
func HashString(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return mix64(h)
}

// mix64 is the finalizer of splitmix64: each input bit changes half of the output.
func mix64(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
