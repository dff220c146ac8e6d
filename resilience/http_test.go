package resilience

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"
)

func TestFromHTTP(t *testing.T) {
	t.Parallel()
	resp := func(code int, after string) *http.Response {
		r := &http.Response{StatusCode: code, Header: http.Header{}}
		if after != "" {
			r.Header.Set("Retry-After", after)
		}
		return r
	}
	long := time.Now().Add(24 * time.Hour).UTC().Format(http.TimeFormat)
	past := time.Now().Add(-24 * time.Hour).UTC().Format(http.TimeFormat)
	dial := &net.OpError{Op: "dial", Err: errors.New("refused")}
	read := &net.OpError{Op: "read", Err: errors.New("reset")}
	tests := []struct {
		name   string
		resp   *http.Response
		err    error
		caller bool
		want   Outcome
	}{
		{name: "ok", resp: resp(200, ""), want: Outcome{Class: Success}},
		{name: "upgrade", resp: resp(101, ""), want: Outcome{Class: Success}},
		{name: "caller's fault", resp: resp(404, "7"), want: Outcome{Class: Success}},
		{name: "throttled", resp: resp(429, "7"), want: Outcome{Class: Throttled, RetryAfter: 7 * time.Second}},
		{name: "unavailable", resp: resp(503, " 2 "), want: Outcome{Class: Retryable, RetryAfter: 2 * time.Second}},
		{name: "bad gateway", resp: resp(502, ""), want: Outcome{Class: Retryable}},
		{name: "gateway timeout", resp: resp(504, ""), want: Outcome{Class: Retryable}},
		{name: "internal", resp: resp(500, ""), want: Outcome{Class: Failure}},
		{name: "wait too long", resp: resp(503, "99999999"), want: Outcome{Class: Retryable, RetryAfter: MaxRetryAfter}},
		{name: "wait until tomorrow", resp: resp(503, long), want: Outcome{Class: Retryable, RetryAfter: MaxRetryAfter}},
		{name: "wait until yesterday", resp: resp(503, past), want: Outcome{Class: Retryable}},
		{name: "negative wait", resp: resp(503, "-3"), want: Outcome{Class: Retryable}},
		{name: "nonsense wait", resp: resp(503, "soon"), want: Outcome{Class: Retryable}},
		{name: "dial", err: fmt.Errorf("x: %w", dial), want: Outcome{Class: Retryable, Unsent: true}},
		{name: "said to be unsent", err: fmt.Errorf("x: %w", ErrUnsent), want: Outcome{Class: Retryable, Unsent: true}},
		{name: "reset", err: read, want: Outcome{Class: Retryable}},
		{name: "body broke off", resp: resp(200, ""), err: io.ErrUnexpectedEOF, want: Outcome{Class: Retryable}},
		{name: "cancelled", err: context.Canceled, want: Outcome{}},
		{name: "cancelled by the caller", err: context.Canceled, caller: true, want: Outcome{}},
		{name: "caller's deadline", err: fmt.Errorf("x: %w", context.DeadlineExceeded), caller: true, want: Outcome{Silent: true}},
		{name: "caller's deadline in mid-answer", resp: resp(200, ""), err: context.DeadlineExceeded, caller: true, want: Outcome{}},
		{name: "caller's deadline, unsent", err: fmt.Errorf("%w: %w", ErrUnsent, context.DeadlineExceeded), caller: true, want: Outcome{Unsent: true}},
		{name: "attempt's deadline", err: context.DeadlineExceeded, want: Outcome{Class: Retryable}},
		{name: "caller left while dialling", err: dial, caller: true, want: Outcome{Unsent: true}},
		{name: "nothing happened", want: Outcome{Unsent: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.resp != nil && tt.err == nil {
				tt.want.Code = uint16(tt.resp.StatusCode)
			}
			if got := FromHTTP(tt.resp, tt.err, tt.caller); got != tt.want {
				t.Errorf("FromHTTP = %+v, want %+v", got, tt.want)
			}
		})
	}
}

func FuzzWaits(f *testing.F) {
	for _, v := range []string{"", "0", "7", "-1", " 2 ", "9223372036854775807", "9223372036854775808", "Fri, 31 Dec 9999 23:59:59 GMT", "soon"} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v string) {
		if d := retryAfter(v, ""); d < 0 || d > MaxRetryAfter {
			t.Errorf("Retry-After %q is %v", v, d)
		}
		if d := grpcPushback(metadata.MD{pushback: {v}}); d < -1 || d > MaxRetryAfter {
			t.Errorf("pushback %q is %v", v, d)
		}
	})
}
