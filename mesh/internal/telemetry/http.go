package telemetry

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/resilience"
)

// The ends of an HTTP request: one for each status that net/http has a name for,
// one for all others, and those without a status.
const (
	endOther = iota
	endCanceled
	endTimeout
	endUnsent // no connection, no endpoint, or refused here
	endBroken
	firstStatus
)

var endNames = [...]string{endOther: Other, endCanceled: "canceled", endTimeout: "timeout", endUnsent: "unsent", endBroken: "connection_error"}

// statuses are the known ones in order.
var statuses = func() (all []int) {
	for s := 100; s < 600; s++ {
		if http.StatusText(s) != "" {
			all = append(all, s)
		}
	}
	return all
}()

// statusEnds is the end of each status from 100 on.
var statusEnds = func() (ends [500]uint8) {
	for i, s := range statuses {
		ends[s-100] = uint8(firstStatus + i)
	}
	return ends
}()

// HTTPStatus is how a request ended that got a response, as an end of a [Cell].
func HTTPStatus(status int) int {
	if status < 100 || status >= 600 {
		return endOther
	}
	return int(statusEnds[status-100])
}

// HTTPError is how a request ended that got none.
func HTTPError(err error) int {
	switch {
	case errors.Is(err, context.Canceled):
		return endCanceled
	case errors.Is(err, context.DeadlineExceeded):
		return endTimeout
	case errors.Is(err, balancer.ErrNoEndpoint), errors.Is(err, balancer.ErrNotReady), resilience.FromHTTP(nil, err, false).Unsent:
		return endUnsent
	}
	return endBroken
}

// HTTPEndName is an end in words: the status, or what happened instead.
func HTTPEndName(end int) string {
	if end < firstStatus {
		return endNames[end]
	}
	return strconv.Itoa(statuses[end-firstStatus])
}

// HTTPFailed reports whether an end is an error, seen from a server or a client.
func HTTPFailed(end int, server bool) bool {
	if end < firstStatus {
		return end != endOther
	}
	s := statuses[end-firstStatus]
	return s >= 500 || s >= 400 && !server
}

var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
	http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace, "QUERY",
}

// HTTPMethod is a method as an attribute: those of the standards, or Other.
func HTTPMethod(m string) string {
	if m == "" {
		return http.MethodGet
	}
	if slices.Contains(methods, m) {
		return m
	}
	return Other
}

// HTTPRoute is the path of a ServeMux pattern, "/items/{id}" of "GET shop/items/{id}".
func HTTPRoute(pattern string) string {
	if i := strings.IndexByte(pattern, '/'); i >= 0 {
		return pattern[i:]
	}
	return ""
}
