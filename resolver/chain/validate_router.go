package chain

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// maxRegex bounds the text of a regular expression.
const maxRegex = 4096

var (
	httpMethods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"}
	retryCauses = []string{"5xx", "gateway-error", "reset", "connect-failure", "envoy-ratelimited", "retriable-4xx",
		"refused-stream", "cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"}
)

func validateRouter(e *ServiceRouter) error {
	for i, r := range e.Routes {
		at := fmt.Sprintf("Routes[%d]", i)
		if r.Match != nil && r.Match.HTTP != nil {
			if err := validateHTTPMatch(e, at+".Match.HTTP", r.Match.HTTP); err != nil {
				return err
			}
		}
		if r.Destination == nil {
			continue
		}
		at += ".Destination"
		rewritable := r.Match != nil && r.Match.HTTP != nil && (r.Match.HTTP.PathExact != "" || r.Match.HTTP.PathPrefix != "")
		if r.Destination.PrefixRewrite != "" && !rewritable {
			return entryWrong(e, at+".PrefixRewrite", "needs a PathExact or PathPrefix in the match, which it replaces")
		}
		for j, cause := range r.Destination.RetryOn {
			if !slices.Contains(retryCauses, cause) {
				return entryWrong(e, fmt.Sprintf("%s.RetryOn[%d]", at, j), "%q is not one of %s", clip(cause), strings.Join(retryCauses, ", "))
			}
		}
	}
	return nil
}

func validateHTTPMatch(e Entry, at string, m *HTTPMatch) error {
	for _, p := range []struct{ field, value string }{{"PathExact", m.PathExact}, {"PathPrefix", m.PathPrefix}} {
		if p.value != "" && p.value[0] != '/' {
			return entryWrong(e, at+"."+p.field, "%q does not begin with /", clip(p.value))
		}
	}
	if count(m.PathExact != "", m.PathPrefix != "", m.PathRegex != "") > 1 {
		return entryWrong(e, at, "has more than one of PathExact, PathPrefix and PathRegex; make a route of each")
	}
	if err := checkRegex(e, at+".PathRegex", m.PathRegex); err != nil {
		return err
	}
	for i, h := range m.Header {
		at := fmt.Sprintf("%s.Header[%d]", at, i)
		if h.Name == "" {
			return entryWrong(e, at+".Name", "is empty")
		}
		n := count(h.Present, h.Exact != "", h.Prefix != "", h.Suffix != "", h.Contains != "", h.Regex != "")
		if n != 1 {
			return entryWrong(e, at, "has %d of Present, Exact, Prefix, Suffix, Contains and Regex; it needs one", n)
		}
		if h.IgnoreCase && (h.Present || h.Regex != "") {
			return entryWrong(e, at+".IgnoreCase", "goes with Exact, Prefix, Suffix and Contains only; write (?i) in a Regex")
		}
		if err := checkRegex(e, at+".Regex", h.Regex); err != nil {
			return err
		}
	}
	for i, q := range m.QueryParam {
		at := fmt.Sprintf("%s.QueryParam[%d]", at, i)
		if q.Name == "" {
			return entryWrong(e, at+".Name", "is empty")
		}
		if n := count(q.Present, q.Exact != "", q.Regex != ""); n != 1 {
			return entryWrong(e, at, "has %d of Present, Exact and Regex; it needs one", n)
		}
		if err := checkRegex(e, at+".Regex", q.Regex); err != nil {
			return err
		}
	}
	for i, method := range m.Methods {
		at := fmt.Sprintf("%s.Methods[%d]", at, i)
		if !slices.Contains(httpMethods, method) {
			return entryWrong(e, at, "%q is not one of %s", clip(method), strings.Join(httpMethods, ", "))
		}
		if slices.Contains(m.Methods[:i], method) {
			return entryWrong(e, at, "%q stands twice", method)
		}
	}
	return nil
}

func checkRegex(e Entry, field, expr string) error {
	if len(expr) > maxRegex {
		return entryWrong(e, field, "has %d bytes, over %d", len(expr), maxRegex)
	}
	if _, err := regexp.Compile(expr); err != nil {
		return entryWrong(e, field, "is not a regular expression in RE2 syntax: %s", clip(err.Error()))
	}
	return nil
}

func count(set ...bool) (n int) {
	for _, s := range set {
		if s {
			n++
		}
	}
	return n
}
