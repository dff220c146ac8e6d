package telemetry

import (
	"context"
	"log/slog"
	"math"
	"time"
)

// Bounds of the access log.
const (
	// DefaultAccessRatio is the share of calls that succeed and are logged.
	DefaultAccessRatio = 0.01
	maxAccess          = 100 // lines in a second
)

// Access is a sampled access log: one record a call. A nil Access logs nothing.
type Access struct {
	log   *slog.Logger
	below uint64
	rate  limit
}

// NewAccess makes an access log, or nil without a logger. ratio is the share of
// successful calls that are logged; 0: 1 %; negative: none. Failed ones are
// logged all. Both are bounded to 100 lines a second.
func NewAccess(l *slog.Logger, ratio float64) *Access {
	if l == nil {
		return nil
	}
	switch {
	case ratio == 0:
		ratio = DefaultAccessRatio
	case !(ratio > 0):
		ratio = 0
	}
	return &Access{log: l, below: uint64(min(ratio, 1) * (math.MaxUint32 + 1)), rate: limit{every: time.Second, burst: maxAccess}}
}

// Wants reports whether to log a call, so that a record is built only then.
func (a *Access) Wants(failed bool, draw uint32) bool {
	return a != nil && (failed || uint64(draw) < a.below)
}

// Record is a line of the access log.
type Record struct {
	Side     string // "client", "server"
	Protocol string // "grpc", "http"
	Service  string // who was called
	Method   string // and for what
	Status   string
	Took     time.Duration
	Attempts int    // of a client; 0: none was made
	Endpoint string // that the last attempt went to
	Cloud    string // of the endpoint
	Peer     string // the caller's SPIFFE ID, on a server
	Flags    Flags
	TraceID  string // if the call is in a trace
}

// Log writes a record, unless there are too many.
func (a *Access) Log(ctx context.Context, r Record) {
	suppressed, ok := a.rate.allow(time.Now())
	if !ok {
		return
	}
	attrs := make([]slog.Attr, 0, 14)
	add := func(key, v string) {
		if v != "" {
			attrs = append(attrs, slog.String(key, v))
		}
	}
	add("side", r.Side)
	add("protocol", r.Protocol)
	add("service", r.Service)
	add("method", r.Method)
	add("status", r.Status)
	attrs = append(attrs, slog.Duration("took", r.Took))
	if r.Side == "client" {
		attrs = append(attrs, slog.Int("attempts", r.Attempts))
	}
	add("endpoint", r.Endpoint)
	add("cloud", r.Cloud)
	add("peer", r.Peer)
	add("flags", r.Flags.String())
	add("trace_id", r.TraceID)
	if suppressed > 0 {
		attrs = append(attrs, slog.Int("suppressed", suppressed))
	}
	a.log.LogAttrs(ctx, slog.LevelInfo, "access", attrs...)
}
