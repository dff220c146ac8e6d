package resilience

import "net/http"

// IdempotencyKey is the request header with which a caller says that the server
// does a request with the same value only once.
const IdempotencyKey = "Idempotency-Key"

// HTTPIdempotent reports whether a request may be made twice: by its method (RFC
// 9110, section 9.2.2: GET, HEAD, OPTIONS, TRACE, PUT, DELETE), or because it has
// an [IdempotencyKey].
func HTTPIdempotent(req *http.Request) bool {
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return req.Header.Get(IdempotencyKey) != ""
}

// StripHTTP removes the headers with which one member of the mesh tells another
// about attempts and deadlines. Do it at a trust border, in both directions:
// whoever may set them can make calls fail or stop retries.
func StripHTTP(h http.Header) {
	for _, k := range [...]string{TimeoutKey, AttemptKey, RetriedKey} {
		h.Del(k)
	}
}
