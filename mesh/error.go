package mesh

import (
	"fmt"
	"strings"

	"github.com/weft-mesh/weft/balancer"
)

// Error is what a call through the mesh fails with: who was called, where the
// last attempt went, and why it failed. errors.Is and errors.As see through it;
// status.FromError and status.Code see the status of Err, or of a context error.
type Error struct {
	// Op is what failed: "call" and "stream" (gRPC), "http", "serve", "join".
	Op string
	// Service is the name that was called.
	Service string
	// Endpoint is the address of the last attempt; empty if none was made.
	Endpoint string
	// Attempts is how many endpoints were tried.
	Attempts int
	// Err is the cause.
	Err error
}

// Error is "mesh: OP SERVICE at ENDPOINT: cause".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("mesh: ")
	b.WriteString(e.Op)
	if e.Service != "" {
		b.WriteByte(' ')
		b.WriteString(e.Service)
	}
	if e.Endpoint != "" {
		b.WriteString(" at ")
		b.WriteString(e.Endpoint)
	}
	if e.Attempts > 1 {
		fmt.Fprintf(&b, " (attempt %d)", e.Attempts)
	}
	b.WriteString(": ")
	b.WriteString(e.Err.Error())
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// callError wraps the error of a call with what the call knows of its attempts.
func callError(op string, c *balancer.Call, err error) error {
	e := &Error{Op: op, Service: c.Service, Attempts: c.Attempts(), Err: err}
	if n := c.Last(); n != nil {
		e.Endpoint = n.Endpoint().Addr
	}
	return e
}
