package resilience

import (
	"context"
	"errors"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// MaxRetryAfter bounds the wait that a server may ask for: a server that asks
// for more gets this.
const MaxRetryAfter = 5 * time.Minute

// pushback is the trailer of gRFC A6: milliseconds to wait, negative for "do not retry".
const pushback = "grpc-retry-pushback-ms"

// GRPCReply is what a gRPC client knows of one attempt when it ends; the fields
// have the meaning of grpc-go's balancer.DoneInfo.
type GRPCReply struct {
	// Err is the attempt's status error; nil is OK.
	Err error
	// BytesSent means that a stream was made for the attempt, BytesReceived that
	// the server answered something, were it only a status.
	BytesSent, BytesReceived bool
	// Trailer is the reply's trailing metadata; nil is none.
	Trailer metadata.MD
	// CallerEnded means that the caller itself ended the call, or that its own
	// deadline (not one set for this attempt only) passed; see [CallerEnded].
	CallerEnded bool
}

// FromGRPC classifies a gRPC attempt.
//
//   - Unavailable, and a deadline that is not the caller's: Retryable. The deadline is
//     unsent with the trailer [RefusedKey]: the server was too slow to begin.
//   - Internal, Unknown, DataLoss: Failure.
//   - ResourceExhausted from the server: Throttled, and unsent with the trailer
//     [RefusedKey]. From this process (a message over the limit): Neutral.
//   - Canceled, the caller's own deadline, an attempt that never began: Neutral;
//     Silent if the deadline passed before anything was answered.
//   - OK and all codes that blame the request (InvalidArgument, NotFound,
//     PermissionDenied, Aborted, ...): Success.
//
// RetryAfter is the trailer grpc-retry-pushback-ms of gRFC A6; a value that
// cannot be read counts as "do not retry", as there. So does [RetriedKey].
func FromGRPC(r GRPCReply) Outcome {
	if r.Err == nil {
		if !r.BytesSent {
			return Outcome{Class: Neutral, Unsent: true}
		}
		return Outcome{Class: Success}
	}
	o := Outcome{Class: grpcClass(r), Unsent: !r.BytesSent && !r.BytesReceived, Code: uint16(grpcCode(r.Err))}
	o.Silent = o.Class == Neutral && r.BytesSent && !r.BytesReceived && grpcCode(r.Err) == codes.DeadlineExceeded
	if (o.Class == Throttled || o.Class == Retryable && grpcCode(r.Err) == codes.DeadlineExceeded) && len(r.Trailer[RefusedKey]) > 0 {
		o.Unsent = true
	}
	if o.Class != Neutral && o.Class != Success {
		o.RetryAfter = grpcPushback(r.Trailer)
	}
	return o
}

// JudgeGRPC is FromGRPC for a balancer that has seen the end of an attempt with
// context ctx: the Loop around it gets the same Outcome, which its Classifier may
// have changed; see [Verdict].
func JudgeGRPC(ctx context.Context, method string, r GRPCReply) Outcome {
	e := Ended{Method: method, Err: r.Err}
	if r.Err != nil {
		e.Code = uint32(grpcCode(r.Err))
	}
	return VerdictFrom(ctx).Judge(e, FromGRPC(r))
}

func grpcClass(r GRPCReply) Class {
	switch grpcCode(r.Err) {
	case codes.Canceled:
		return Neutral
	case codes.DeadlineExceeded:
		if r.CallerEnded {
			return Neutral
		}
		return Retryable
	case codes.Unavailable:
		if r.CallerEnded && !r.BytesReceived {
			return Neutral // the stream broke because the caller left
		}
		return Retryable
	case codes.ResourceExhausted:
		if !r.BytesReceived {
			return Neutral
		}
		return Throttled
	case codes.Internal, codes.Unknown, codes.DataLoss:
		if r.CallerEnded && !r.BytesReceived {
			return Neutral
		}
		return Failure
	}
	return Success
}

// grpcCode is the status code of err; a bare context error has the code that
// gRPC would have given it.
func grpcCode(err error) codes.Code {
	if errors.Is(err, context.Canceled) {
		return codes.Canceled
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return codes.DeadlineExceeded
	}
	return status.Code(err)
}

func grpcPushback(md metadata.MD) time.Duration {
	if len(md[RetriedKey]) > 0 {
		return -1
	}
	v := md[pushback]
	if len(v) == 0 {
		return 0
	}
	ms, err := strconv.ParseInt(v[0], 10, 64)
	if err != nil || ms < 0 || len(v) > 1 {
		return -1
	}
	return boundWait(ms, time.Millisecond)
}

// boundWait is n units, at most MaxRetryAfter.
func boundWait(n int64, unit time.Duration) time.Duration {
	if n > int64(MaxRetryAfter/unit) {
		return MaxRetryAfter
	}
	return time.Duration(n) * unit
}

// slack is how much earlier than our own clock a server may notice the deadline
// that both have: its answer can be here before our timer fires.
const slack = 20 * time.Millisecond

// CallerEnded reports whether the caller itself is why an attempt with context
// ctx ended now. deadline is the deadline that the caller gave to the whole
// call; zero means the one that a [Loop] knows of, and without a Loop that of
// ctx. A deadline of ctx that is earlier belongs to the attempt, and its passing
// is not the caller's.
func CallerEnded(ctx context.Context, deadline time.Time) bool {
	if errors.Is(ctx.Err(), context.Canceled) {
		return true
	}
	if deadline.IsZero() {
		var ok bool
		if deadline, ok = CallDeadline(ctx); !ok {
			return false
		}
	}
	return time.Until(deadline) <= slack
}
