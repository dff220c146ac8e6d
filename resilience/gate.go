package resilience

import (
	"context"
	"strconv"
)

// Gate decides whether a call or an attempt may go. A breaker, a limit and a
// fault are gates.
//
// Enter returns either a done function, to be called exactly once with what
// became of the call, or an error that says why it may not go. Such a refusal is
// our own: every layer outside treats it as [Neutral] and unsent.
// Enter may wait, as long as ctx allows.
type Gate interface {
	Enter(ctx context.Context, in *Info) (done func(Outcome), err error)
}

// Info names a call for gates and loops. It is filled once per call and only
// read afterwards, except for Cloud, which belongs to one attempt.
type Info struct {
	// Service is the called service, "payments". Inbound: our own name.
	Service string
	// Method is the full gRPC method, "/pay.Pay/Charge", or the HTTP method, "GET".
	Method string
	// Path is the HTTP path, "/items/7"; empty for gRPC.
	Path string
	// Cloud is where the attempt goes; empty before an endpoint was chosen.
	Cloud string
	// Caller is the SPIFFE ID of the peer of an inbound call; empty if unknown, and
	// for outbound calls.
	Caller string
	// Priority is how much the call matters; zero is [Critical].
	Priority Priority
	// Idempotent means that doing the call twice does no more than doing it once.
	Idempotent bool
	// Stream means that the call lasts as long as its parties like.
	Stream bool
	// Header is the first value of a request header or of request metadata, empty if
	// there is none; nil: nobody can tell.
	Header func(name string) string
}

// Priority is how much a call matters when there is too much work: one of the
// four criticality classes of Google's SRE book. The zero value is Critical, so
// the numbers are no order; compare [Priority.Rank].
type Priority uint8

const (
	// Critical is the default: users notice when it fails.
	Critical Priority = iota
	// CriticalPlus is for the few calls that are shed last.
	CriticalPlus
	// SheddablePlus may fail for minutes: batch work that is tried again.
	SheddablePlus
	// Sheddable may fail for hours; it is shed first.
	Sheddable
)

// Priorities is how many classes there are.
const Priorities = 4

// Rank orders the classes: 0 is shed last (CriticalPlus), 3 first (Sheddable).
// An unknown value has the rank of Critical.
func (p Priority) Rank() int {
	switch p {
	case CriticalPlus:
		return 0
	case SheddablePlus:
		return 2
	case Sheddable:
		return 3
	}
	return 1
}

// String is the class as it is written in metadata and headers: "critical_plus",
// "critical", "sheddable_plus" or "sheddable".
func (p Priority) String() string {
	switch p {
	case Critical:
		return "critical"
	case CriticalPlus:
		return "critical_plus"
	case SheddablePlus:
		return "sheddable_plus"
	case Sheddable:
		return "sheddable"
	}
	return "priority(" + strconv.Itoa(int(p)) + ")"
}
