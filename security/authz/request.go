package authz

import (
	"context"
	"errors"
	"time"

	"github.com/weft-mesh/weft/security"
)

// Headers are the headers of a request. http.Header is one.
type Headers interface {
	// Values are all values of a header; its name is given as http.Header spells it.
	Values(name string) []string
}

// Request is what is judged.
type Request struct {
	// Caller is who proved to be at the other end. The zero value is nobody.
	Caller security.PeerID
	// Via is the mesh gateway that the request came by; then Caller is who the
	// gateway says it was. Zero: it came directly.
	Via security.PeerID
	// Protocol is "grpc" or "http".
	Protocol string
	// Method is the HTTP method; POST for gRPC.
	Method string
	// Path is the normalised path, see [Normalize] and [CheckGRPCPath].
	Path string
	// Query is the part behind the question mark, undecoded; empty for gRPC.
	Query string
	// Authority is the host that was asked for.
	Authority string
	// Headers are the request's; nil: none.
	Headers Headers
	// Time is when it came. Zero: a condition sees the current time.
	Time time.Time
}

// The kinds of refusals; test for them with errors.Is.
var (
	// ErrDenied: a rule, or the default, does not allow the request.
	ErrDenied = errors.New("not allowed")
	// ErrUnauthenticated: the request would need a token and has none that is valid.
	ErrUnauthenticated = errors.New("a valid token is required")
	// ErrNotReady: the rules are not known yet.
	ErrNotReady = errors.New("the rules are not known yet")
)

// Decision is what became of a request.
type Decision struct {
	// Allowed is the answer.
	Allowed bool
	// Rule is the rule that decided, in words.
	Rule string
	// Version is the version of the rules.
	Version string
	// Err is why it is refused: one of this package's errors. nil if allowed.
	Err error
	// Claims are those of the token that a rule asked for; nil: none did.
	Claims map[string]any

	reason string // for the audit log: more than the rule's name
}

// Admission is what a handler can learn of the request that it serves.
type Admission struct {
	// Caller is who called: the peer of the connection, or who a mesh gateway says it was.
	Caller security.PeerID
	// Via is that gateway; zero: the caller came directly.
	Via security.PeerID
	// Claims are those of the caller's token; nil: no rule asked for one. Do not change them.
	Claims map[string]any
}

type admissionKey struct{}

// admitted is the context of a handler.
type admitted struct {
	context.Context
	Admission
	// What the gRPC tap leaves for the interceptor behind it.
	decided bool
	denied  bool     // soFar is to be refused
	soFar   Decision // what the rules say
	req     *Request
	a       *Authorizer
}

func (c *admitted) Value(key any) any {
	if key == (admissionKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// FromContext is what is known of the request that ctx belongs to; false if it was
// not judged here.
func FromContext(ctx context.Context) (Admission, bool) {
	switch c := ctx.Value(admissionKey{}).(type) {
	case *admitted: // over gRPC
		return c.Admission, true
	case *Admission:
		return *c, true
	}
	return Admission{}, false
}
