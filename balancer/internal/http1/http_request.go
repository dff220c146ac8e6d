package http1

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptrace"
	"reflect"
	"strings"
)

// What fits the buffers of two sockets is written without waiting for a peer that
// answers before it reads.
const (
	maxHead = 16 << 10
	maxBody = 16 << 10
)

// Eligible reports whether a Pool may send the request: all about it is plain.
func Eligible(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
	default:
		return false
	}
	//lint:ignore SA1019 who still uses Cancel is served by http.Transport
	cancel := r.Cancel
	switch {
	case cancel != nil, r.Close, r.URL == nil, r.Header == nil, len(r.Trailer) > 0, len(r.TransferEncoding) > 0:
		return false
	case !plainBody(r):
		return false
	case httptrace.ContextClientTrace(r.Context()) != nil:
		return false
	}
	size := 3*len(r.URL.Path) + len(r.URL.RawPath) + len(r.URL.RawQuery) + len(r.URL.Opaque) + len(r.Host)
	for k, vs := range r.Header {
		if !plainName(k) {
			return false
		}
		for _, v := range vs {
			if !plainValue(v) {
				return false
			}
			size += len(k) + len(v) + len(": \r\n")
		}
	}
	return size <= maxHead
}

// The types of io.NopCloser, which http.NewRequest puts around a body in memory.
var (
	nopCloser         = reflect.TypeOf(io.NopCloser(nil))
	nopCloserWriterTo = reflect.TypeOf(io.NopCloser(struct {
		io.Reader
		io.WriterTo
	}{}))
)

// plainBody reports whether the request has no body, or one in memory of the length
// that it says: reading it neither waits nor fails, and closing it does nothing.
func plainBody(r *http.Request) bool {
	if r.Body == nil || r.Body == http.NoBody {
		return r.ContentLength == 0
	}
	if r.GetBody == nil || r.ContentLength <= 0 || r.ContentLength > maxBody {
		return false
	}
	if t := reflect.TypeOf(r.Body); t != nopCloser && t != nopCloserWriterTo {
		return false
	}
	left := -1
	switch in := reflect.ValueOf(r.Body).Field(0).Interface().(type) {
	case *bytes.Reader:
		left = in.Len()
	case *bytes.Buffer:
		left = in.Len()
	case *strings.Reader:
		left = in.Len()
	}
	return int64(left) == r.ContentLength
}

// plainName reports whether a header's name is a plain token and none that says how
// the connection is used.
func plainName(k string) bool {
	if k == "" {
		return false
	}
	for i := range len(k) {
		c := k[i]
		if c|0x20 < 'a' || c|0x20 > 'z' {
			if (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	for _, special := range [...]string{"Connection", "Expect", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade"} {
		if len(k) == len(special) && strings.EqualFold(k, special) {
			return false
		}
	}
	return true
}

func plainValue(v string) bool {
	for i := range len(v) {
		if v[i] < ' ' || v[i] == 0x7f {
			return false
		}
	}
	return true
}
