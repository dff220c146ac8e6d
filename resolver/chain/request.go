package chain

import (
	"context"
	"maps"
	"slices"
	"strings"
)

// Request is what a chain reads of a call. The faces make it: [HTTPRequest],
// [GRPCRequest].
type Request struct {
	// Method is the HTTP method; of a gRPC call it is POST.
	Method string
	// Path is the path as it is sent, escaped and without the query: "/items/7"; of
	// a gRPC call "/pkg.Service/Method". Empty: "/".
	Path string
	// Query is the query as it is sent, without "?". Empty: none.
	Query string
	// Authority is the host that is called.
	Authority string
	// Header gives the headers. nil: there are none, but for a GRPCRequest, which has
	// its metadata beside it.
	Header Headers
	// SourceIP is whom the call is for, in hash policies with SourceIP. A sidecar
	// takes its own caller's address, which is the same for all calls of a process;
	// so empty, the policy gives no key.
	SourceIP string
	// Key is the caller's own sticky key, such as a user's id. It goes before the
	// source that the policy names. Empty: there is none.
	Key string
	// Draw is the share that is drawn in a split, from 0 to 1, for a decision that is
	// repeated or explained; it is read only if HasDraw is set.
	Draw    float64
	HasDraw bool

	ctx context.Context // of a gRPC call, with its metadata; as Headers it would be an allocation
}

// Headers gives the values of a header.
type Headers interface {
	// Values is all values of a header, in their order, not to be changed. The name
	// is given twice, as gRPC and as net/http write it.
	Values(lower, canonical string) []string
}

// Recorded is a request as a value: to keep, to send, and to explain later.
type Recorded struct {
	// Method, Path, Query, Authority, SourceIP and Key are those of a Request. An
	// empty Method is GET.
	Method    string `json:"method,omitempty"`
	Path      string `json:"path"`
	Query     string `json:"query,omitempty"`
	Authority string `json:"authority,omitempty"`
	SourceIP  string `json:"sourceIP,omitempty"`
	Key       string `json:"key,omitempty"`
	// Header has the headers under names of any case.
	Header map[string][]string `json:"header,omitempty"`
	// Draw is the share that was drawn, from 0 to 1. nil: it is not known.
	Draw *float64 `json:"draw,omitempty"`
}

// Request is the recorded request.
func (r Recorded) Request() *Request {
	q := &Request{Method: r.Method, Path: r.Path, Query: r.Query, Authority: r.Authority, SourceIP: r.SourceIP, Key: r.Key}
	if q.Method == "" {
		q.Method = "GET"
	}
	if r.Draw != nil {
		q.Draw, q.HasDraw = *r.Draw, true
	}
	h := headerMap{}
	for _, k := range slices.Sorted(maps.Keys(r.Header)) {
		lower := strings.ToLower(k)
		h[lower] = append(h[lower], r.Header[k]...)
	}
	q.Header = h
	return q
}

// headerMap has its keys in lower case.
type headerMap map[string][]string

func (h headerMap) Values(lower, _ string) []string { return h[lower] }
