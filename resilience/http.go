package resilience

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// ErrUnsent marks an error of an HTTP transport that made sure that no byte of
// the request left the process. Test for it with errors.Is.
var ErrUnsent = errors.New("resilience: the request was not sent")

// FromHTTP classifies an HTTP attempt: resp if the endpoint answered, else err.
// err may come with a resp when its body could not be read to the end.
// callerEnded is as in [GRPCReply]; see [CallerEnded].
//
//   - 502, 503, 504 and broken connections: Retryable; 504 with the header [RefusedKey]
//     is unsent too: the server was too slow to begin.
//   - Other 5xx: Failure. 429: Throttled; so is 503 with the header [RefusedKey], and
//     both are unsent with it.
//   - Everything else that was answered: Success.
//   - The caller's own cancel or deadline: Neutral; Silent if the deadline passed
//     without a resp.
//
// RetryAfter is the header Retry-After of a 429 or 5xx, in seconds or as a date,
// at most [MaxRetryAfter]; a value that cannot be read is ignored. A date is compared
// with the header Date, so that the two clocks need not agree. A failure with
// [RetriedKey] asks not to retry.
func FromHTTP(resp *http.Response, err error, callerEnded bool) Outcome {
	if err != nil {
		return httpError(resp, err, callerEnded)
	}
	if resp == nil {
		return Outcome{Unsent: true}
	}
	o := Outcome{Code: uint16(resp.StatusCode)}
	switch c := resp.StatusCode; {
	case (c == http.StatusTooManyRequests || c == http.StatusServiceUnavailable) && resp.Header.Get(RefusedKey) != "":
		o.Class, o.Unsent = Throttled, true
	case c == http.StatusTooManyRequests:
		o.Class = Throttled
	case c == http.StatusBadGateway, c == http.StatusServiceUnavailable, c == http.StatusGatewayTimeout:
		o.Class = Retryable
		o.Unsent = c == http.StatusGatewayTimeout && resp.Header.Get(RefusedKey) != ""
	case c >= 500:
		o.Class = Failure
	default:
		o.Class = Success
		return o
	}
	o.RetryAfter = retryAfter(resp.Header.Get("Retry-After"), resp.Header.Get("Date"))
	if resp.Header.Get(RetriedKey) != "" {
		o.RetryAfter = -1
	}
	return o
}

// JudgeHTTP is FromHTTP for a balancer that has seen the end of an attempt, sent as
// req: the Loop around it gets the same Outcome, which its Classifier may have
// changed; see [Verdict].
func JudgeHTTP(req *http.Request, resp *http.Response, err error, callerEnded bool) Outcome {
	e := Ended{Method: req.Method, Path: req.URL.Path, Err: err}
	if resp != nil {
		e.Status = resp.StatusCode
	}
	return VerdictFrom(req.Context()).Judge(e, FromHTTP(resp, err, callerEnded))
}

func httpError(resp *http.Response, err error, callerEnded bool) Outcome {
	o := Outcome{Class: Retryable, Unsent: unsent(err)}
	if callerEnded || errors.Is(err, context.Canceled) {
		o.Class = Neutral
		o.Silent = resp == nil && !o.Unsent && errors.Is(err, context.DeadlineExceeded)
	}
	return o
}

// unsent reports what net/http makes certain: a failed dial wrote nothing.
func unsent(err error) bool {
	if errors.Is(err, ErrUnsent) {
		return true
	}
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

func retryAfter(v, date string) time.Duration {
	if v = strings.TrimSpace(v); v == "" {
		return 0
	}
	if n, err := strconv.ParseInt(v, 10, 64); err == nil {
		return boundWait(max(n, 0), time.Second)
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	wait := time.Until(at)
	if sent, err := http.ParseTime(date); err == nil {
		wait = at.Sub(sent)
	}
	return min(max(wait, 0), MaxRetryAfter)
}
