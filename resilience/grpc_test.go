package resilience

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func TestFromGRPC(t *testing.T) {
	t.Parallel()
	code := func(c codes.Code) error { return status.Error(c, "x") }
	push := func(v ...string) metadata.MD { return metadata.MD{"grpc-retry-pushback-ms": v} }
	sent, answered := true, true
	tests := []struct {
		name string
		in   GRPCReply
		want Outcome
	}{
		{"ok", GRPCReply{BytesSent: sent, BytesReceived: answered}, Outcome{Class: Success}},
		{"not started", GRPCReply{}, Outcome{Unsent: true}},
		{"unavailable", GRPCReply{Err: code(codes.Unavailable), BytesSent: sent}, Outcome{Class: Retryable}},
		{"unavailable before the stream", GRPCReply{Err: code(codes.Unavailable)}, Outcome{Class: Retryable, Unsent: true}},
		{"unavailable because the caller left", GRPCReply{Err: code(codes.Unavailable), BytesSent: sent, CallerEnded: true}, Outcome{}},
		{"unavailable said by the server", GRPCReply{Err: code(codes.Unavailable), BytesSent: sent, BytesReceived: answered, CallerEnded: true}, Outcome{Class: Retryable}},
		{"cancelled", GRPCReply{Err: code(codes.Canceled), BytesSent: sent}, Outcome{}},
		{"bare cancel", GRPCReply{Err: context.Canceled, BytesSent: sent}, Outcome{}},
		{"caller's deadline", GRPCReply{Err: code(codes.DeadlineExceeded), BytesSent: sent, CallerEnded: true}, Outcome{Silent: true}},
		{"caller's bare deadline", GRPCReply{Err: context.DeadlineExceeded, BytesSent: sent, CallerEnded: true}, Outcome{Silent: true}},
		{"caller's deadline before the stream", GRPCReply{Err: code(codes.DeadlineExceeded), CallerEnded: true}, Outcome{Unsent: true}},
		{"caller's deadline in mid-answer", GRPCReply{Err: code(codes.DeadlineExceeded), BytesSent: sent, BytesReceived: answered, CallerEnded: true}, Outcome{}},
		{"cancelled by the caller", GRPCReply{Err: code(codes.Canceled), BytesSent: sent, CallerEnded: true}, Outcome{}},
		{"attempt's deadline", GRPCReply{Err: code(codes.DeadlineExceeded), BytesSent: sent}, Outcome{Class: Retryable}},
		{"bare deadline", GRPCReply{Err: context.DeadlineExceeded, BytesSent: sent}, Outcome{Class: Retryable}},
		{"internal", GRPCReply{Err: code(codes.Internal), BytesSent: sent}, Outcome{Class: Failure}},
		{"unknown", GRPCReply{Err: code(codes.Unknown), BytesSent: sent}, Outcome{Class: Failure}},
		{"no status at all", GRPCReply{Err: errors.New("x"), BytesSent: sent}, Outcome{Class: Failure}},
		{"data loss", GRPCReply{Err: code(codes.DataLoss), BytesSent: sent}, Outcome{Class: Failure}},
		{"throttled", GRPCReply{Err: code(codes.ResourceExhausted), BytesSent: sent, BytesReceived: answered}, Outcome{Class: Throttled}},
		{"own message too large", GRPCReply{Err: code(codes.ResourceExhausted), BytesSent: sent}, Outcome{}},
		{"caller's fault", GRPCReply{Err: code(codes.InvalidArgument), BytesSent: sent, BytesReceived: answered}, Outcome{Class: Success}},
		{"not found", GRPCReply{Err: code(codes.NotFound), BytesSent: sent, BytesReceived: answered}, Outcome{Class: Success}},
		{"not allowed", GRPCReply{Err: code(codes.PermissionDenied), BytesSent: sent, BytesReceived: answered}, Outcome{Class: Success}},
		{"who are you", GRPCReply{Err: code(codes.Unauthenticated), BytesSent: sent, BytesReceived: answered}, Outcome{Class: Success}},

		{"wait", GRPCReply{Err: code(codes.Unavailable), BytesSent: sent, Trailer: push("250")}, Outcome{Class: Retryable, RetryAfter: 250 * time.Millisecond}},
		{"never", GRPCReply{Err: code(codes.Unavailable), BytesSent: sent, Trailer: push("-1")}, Outcome{Class: Retryable, RetryAfter: -1}},
		{"nonsense", GRPCReply{Err: code(codes.Unavailable), BytesSent: sent, Trailer: push("soon")}, Outcome{Class: Retryable, RetryAfter: -1}},
		{"two answers", GRPCReply{Err: code(codes.Unavailable), BytesSent: sent, Trailer: push("1", "2")}, Outcome{Class: Retryable, RetryAfter: -1}},
		{"overflow", GRPCReply{Err: code(codes.Unavailable), BytesSent: sent, Trailer: push("9223372036854775807")}, Outcome{Class: Retryable, RetryAfter: MaxRetryAfter}},
		{"past overflow", GRPCReply{Err: code(codes.Unavailable), BytesSent: sent, Trailer: push("9223372036854775808")}, Outcome{Class: Retryable, RetryAfter: -1}},
		{"pushback of a success", GRPCReply{Err: code(codes.NotFound), BytesSent: sent, Trailer: push("250")}, Outcome{Class: Success}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.in.Err != nil {
				tt.want.Code = uint16(grpcCode(tt.in.Err))
			}
			if got := FromGRPC(tt.in); got != tt.want {
				t.Errorf("FromGRPC(%+v) = %+v, want %+v", tt.in, got, tt.want)
			}
		})
	}
}

func TestCallerEnded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		call, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		end, _ := call.Deadline()
		try, cancelTry := context.WithTimeout(call, 100*time.Millisecond)
		defer cancelTry()
		check := func(when string, want bool, ctx context.Context, deadline time.Time) {
			t.Helper()
			if got := CallerEnded(ctx, deadline); got != want {
				t.Errorf("%s: CallerEnded = %v, want %v", when, got, want)
			}
		}
		check("at the start", false, call, time.Time{})
		check("without deadline", false, t.Context(), time.Time{})
		time.Sleep(100 * time.Millisecond)
		check("attempt's deadline passed", false, try, end)
		check("attempt's deadline taken for the caller's", true, try, time.Time{})
		time.Sleep(895 * time.Millisecond)
		check("server's clock was 5 ms faster", true, call, time.Time{})
		time.Sleep(5 * time.Millisecond)
		check("caller's deadline passed", true, try, end)

		gone, cancelGone := context.WithCancel(t.Context())
		cancelGone()
		check("cancelled", true, gone, time.Time{})
	})
}
