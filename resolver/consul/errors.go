package consul

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

var (
	// ErrACL is in the Reason of a snapshot, and in errors of Register, when
	// Consul's access rules refuse or hide what was asked for.
	ErrACL = errors.New("resolver/consul: not permitted by Consul's ACLs")
	// ErrTooLarge is in the Reason when an answer exceeds 64 MiB.
	ErrTooLarge = errors.New("resolver/consul: answer exceeds 64 MiB")
	// ErrImplausible is in the Reason when an answer contradicts what Consul
	// said before and could not be confirmed.
	ErrImplausible = errors.New("resolver/consul: implausible answer")
	// errNoLeader is in the Reason when servers answer without a leader.
	errNoLeader = errors.New("resolver/consul: the answering server has no leader")
)

// statusError is an answer other than 200.
type statusError struct {
	Code int
	Body string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("Consul answered %d %s: %q", e.Code, http.StatusText(e.Code), e.Body)
}

// Unwrap makes 403 an ErrACL.
func (e *statusError) Unwrap() error {
	if e.Code == http.StatusForbidden {
		return ErrACL
	}
	return nil
}

func isStatus(err error, code int) bool {
	var s *statusError
	return errors.As(err, &s) && s.Code == code
}

// sourceWide reports whether err concerns the source and not one service, so
// that one probe can stand for all watches.
func sourceWide(err error) bool {
	var s *statusError
	if !errors.As(err, &s) {
		return !errors.Is(err, ErrTooLarge) && !errors.Is(err, ErrACL) && !errors.Is(err, ErrImplausible)
	}
	return s.Code == http.StatusTooManyRequests || s.Code >= 500
}

// needs explains what a token must be granted to read a service.
func needs(service string) string {
	return fmt.Sprintf("grant service:read on %q and node:read on its nodes to the token of this source", service)
}

// explain says what was asked for and what to do about a refusal.
func explain(err error, service string) error {
	if errors.Is(err, ErrACL) {
		hint := needs(service)
		if strings.Contains(err.Error(), "ACL not found") {
			hint = "the token is not known to Consul; check Token, TokenFile or CONSUL_HTTP_TOKEN"
		}
		return fmt.Errorf("resolver/consul: watching %q: %w; %s", service, err, hint)
	}
	return fmt.Errorf("resolver/consul: watching %q: %w", service, err)
}
