package resilience

import (
	"context"
	"sync/atomic"
	"time"
)

// Verdict carries the Outcome of an attempt from a balancer, which sees the end of
// the attempt first and knows most of it, to the [Loop] around it, and the
// Classifier the other way. So an attempt is classified once. It is in the context
// of the attempt, where [VerdictFrom] finds it.
type Verdict struct {
	classify Classifier // written once, before the first attempt begins
	word     atomic.Int64
}

// VerdictKey is the key of a context's *[Verdict].
type VerdictKey struct{}

// VerdictFrom is the Verdict of the attempt that ctx belongs to, or nil, whose
// methods do nothing.
func VerdictFrom(ctx context.Context) *Verdict {
	v, _ := ctx.Value(VerdictKey{}).(*Verdict)
	return v
}

// verdictContext gives an attempt a Verdict of its own.
type verdictContext struct {
	context.Context
	v Verdict
}

func (c *verdictContext) Value(key any) any {
	if key == (VerdictKey{}) {
		return &c.v
	}
	return c.Context.Value(key)
}

// The word of a Verdict: RetryAfter in nanoseconds above these bits.
const (
	verdictSet    = 1
	verdictUnsent = 2 // and so was all before it
	verdictOK     = 4 // the attempt ended without an error
	verdictClass  = 3 // where the three bits of the class begin
	verdictCode   = 6 // and the ten of the code
	verdictShift  = 16
)

// Judge classifies the end of an attempt, o before the Classifier, and leaves the
// result for the Loop. An attempt may have several ends, if a transport begins it
// anew: the last one counts, and it is unsent if all were.
func (v *Verdict) Judge(e Ended, o Outcome) Outcome {
	if v == nil {
		return o
	}
	o = v.classify.Judge(e, o)
	const most = time.Duration(1)<<(63-verdictShift) - 1
	w := int64(min(max(o.RetryAfter, -1), most))<<verdictShift | int64(o.Code&1023)<<verdictCode | int64(o.Class&7)<<verdictClass | verdictSet
	if old := v.word.Load(); o.Unsent && (old == 0 || old&verdictUnsent != 0) {
		w |= verdictUnsent
	}
	if e.Err == nil {
		w |= verdictOK
	}
	v.word.Store(w)
	return o
}

// begin forgets the attempt before.
func (v *Verdict) begin(c Classifier) {
	if v == nil {
		return
	}
	if v.classify == nil && c != nil { // else a late end of an attempt may be reading it
		v.classify = c
	}
	v.word.Store(0)
}

// reached reports whether an end of the attempt was seen that may have been sent.
func (v *Verdict) reached() bool {
	w := v.word.Load()
	return w != 0 && w&verdictUnsent == 0
}

// take is the attempt's Outcome, if somebody left one that fits err, the error that
// the Loop has got of it.
func (v *Verdict) take(err error) (o Outcome, ok bool) {
	if v == nil {
		return Outcome{}, false
	}
	w := v.word.Load()
	if w == 0 || (w&verdictOK != 0) != (err == nil) {
		return Outcome{}, false // ended by something in between
	}
	return Outcome{
		Class:      Class(w >> verdictClass & 7),
		Code:       uint16(w >> verdictCode & 1023),
		Unsent:     w&verdictUnsent != 0,
		RetryAfter: time.Duration(w >> verdictShift),
	}, true
}

// verdict begins an attempt: it is the Verdict in its context, which gets one if
// there is a Classifier to be passed on.
func (l *Loop) verdict(ctx context.Context) (context.Context, *Verdict) {
	v := VerdictFrom(ctx)
	if v == nil && l.judge != nil {
		c := &verdictContext{Context: ctx}
		ctx, v = c, &c.v
	}
	v.begin(l.judge)
	return ctx, v
}
