package resilience

import (
	"strconv"
	"strings"
	"time"
)

// FaultKey is the gRPC metadata key and HTTP header with a fault for one call,
// where FaultConfig.AllowHeader allows it: a comma-separated list of
//
//	delay=200ms   wait first
//	code=14       fail with a gRPC status code
//	status=503    fail with an HTTP status
//	blackhole     hang
//	percent=50    with this probability; all without it
const FaultKey = "weft-fault"

// ParseFault reads a value of FaultKey, as a rule that matches every call. ok is
// false if any part of it makes no sense.
func ParseFault(s string) (r FaultRule, ok bool) {
	if len(s) > 256 {
		return FaultRule{}, false
	}
	r.Percent = 100
	for part := range strings.SplitSeq(s, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		var err error
		switch name {
		case "delay":
			r.Delay, err = time.ParseDuration(value)
		case "code":
			r.Code, err = strconv.Atoi(value)
		case "status":
			r.Status, err = strconv.Atoi(value)
		case "percent":
			r.Percent, err = strconv.ParseFloat(value, 64)
		case "blackhole":
			r.BlackHole = true
			if value != "" {
				return FaultRule{}, false
			}
		default:
			return FaultRule{}, false
		}
		if err != nil {
			return FaultRule{}, false
		}
	}
	if r.check("") != nil {
		return FaultRule{}, false
	}
	return r, true
}

// gRPC status codes by number: the core does not import grpc.
const (
	codeCanceled          = 1
	codeUnknown           = 2
	codeDeadlineExceeded  = 4
	codeResourceExhausted = 8
	codeInternal          = 13
	codeUnavailable       = 14
	codeDataLoss          = 15
)

// faultClass is what FromGRPC and FromHTTP would say of the same reply.
func faultClass(code, status int) Class {
	switch code {
	case codeUnavailable, codeDeadlineExceeded:
		return Retryable
	case codeResourceExhausted:
		return Throttled
	case codeInternal, codeUnknown, codeDataLoss:
		return Failure
	case codeCanceled:
		return Neutral
	case 0:
		switch {
		case status == 429:
			return Throttled
		case status == 502, status == 503, status == 504:
			return Retryable
		case status >= 500:
			return Failure
		}
	}
	return Success
}
