package authz

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/weft-mesh/weft/security"
)

// httpHeaders are an http.Header as Headers.
type httpHeaders http.Header

func (h httpHeaders) Values(name string) []string { return h[name] }

func (h httpHeaders) each(f func(name string, values []string)) {
	for name, values := range h {
		f(strings.ToLower(name), values)
	}
}

// HTTPHandler puts an Authorizer in front of a handler. The handler sees the path
// that was judged, in URL.Path, URL.RawPath and RequestURI, no header that poses as
// an identity, and with [FromContext] who called. A request that is refused gets
// 403, 401 if it wants a valid token, 503 while the rules are not known, 400 if it
// can be read in two ways.
//
// The server must use [security.HTTPServerTLS]: who called is known from the
// connection only.
func HTTPHandler(a *Authorizer, next http.Handler) http.Handler {
	return &httpHandler{a: a, next: next, requests: sync.Pool{New: func() any { return new(Request) }}}
}

type httpHandler struct {
	a    *Authorizer
	next http.Handler
	ids  [64]atomic.Pointer[knownPeer]

	requests sync.Pool // *Request; what is judged
}

// served is a request that was let in, and its context, in one piece.
type served struct {
	context.Context
	Admission
	out http.Request // as the handler gets it
}

func (s *served) Value(key any) any {
	if key == (admissionKey{}) {
		return &s.Admission
	}
	return s.Context.Value(key)
}

// Owns tells the layers of the mesh behind this one that they may change the fields of
// a request, as nobody else has it yet.
func (s *served) Owns(req *http.Request) bool { return req == &s.out }

// ServeHTTP implements http.Handler.
func (h *httpHandler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	d, admission, path := h.judge(req)
	if !d.Allowed {
		refuse(w, &d)
		return
	}
	for name := range req.Header {
		if unwelcome(name) {
			delete(req.Header, name)
		}
	}
	s := &served{Context: req.Context(), Admission: admission}
	s.out = *req.WithContext(s)
	routed(&s.out, path)
	h.next.ServeHTTP(w, &s.out)
}

func (h *httpHandler) judge(req *http.Request) (Decision, Admission, string) {
	var r *Request
	if h.a.cfg.External == nil { // else it may be kept
		r = h.requests.Get().(*Request)
		defer func() { *r = Request{}; h.requests.Put(r) }()
	} else {
		r = new(Request)
	}
	*r = Request{
		Caller: h.caller(req), Protocol: "http", Method: req.Method, Path: req.URL.Path, Query: req.URL.RawQuery,
		Authority: req.Host, Headers: httpHeaders(req.Header),
	}
	path, err := h.path(req)
	if err != nil {
		return h.a.finish(r, ambiguous(err)), Admission{}, ""
	}
	r.Path = path
	d := h.a.Admit(req.Context(), r)
	return d, r.admission(&d), path
}

// caller is who sent a request, read once from the certificate of a connection.
func (h *httpHandler) caller(req *http.Request) security.PeerID {
	cs := req.TLS
	if cs == nil || !cs.HandshakeComplete || len(cs.PeerCertificates) == 0 || len(cs.PeerCertificates[0].Signature) == 0 {
		id, _ := security.PeerFromRequest(req)
		return id
	}
	leaf := cs.PeerCertificates[0]
	slot := &h.ids[int(leaf.Signature[len(leaf.Signature)-1])%len(h.ids)]
	if k := slot.Load(); k != nil && (k.cert == leaf || bytes.Equal(k.cert.Raw, leaf.Raw)) { // connections share certificates
		return k.id
	}
	id, ok := security.PeerFromRequest(req)
	if ok {
		slot.Store(&knownPeer{leaf, id})
	}
	return id
}

// path is the one spelling of the request's path.
func (h *httpHandler) path(req *http.Request) (string, error) {
	if err := checkMethod(req.Method); err != nil {
		return "", err
	}
	switch {
	case req.Method == http.MethodConnect && !h.a.cfg.AllowConnect:
		return "", ambiguousText("CONNECT is not enabled")
	case (req.URL.Scheme != "" || req.URL.Host != "" || req.URL.Opaque != "") && !h.a.cfg.AllowAbsolute:
		return "", ambiguousText("an absolute URL is not enabled")
	case req.URL.Opaque != "" || req.URL.Fragment != "" || req.URL.RawFragment != "":
		return "", ambiguousText("the URL has a part that no server should see")
	case hopNames(req.Header["Connection"]):
		return "", ambiguousText("the header Connection names a header that decides")
	}
	path, err := Normalize(req.URL.EscapedPath())
	if err == nil && path != req.URL.Path {
		err = ambiguousText("the parsed path is not the one that was sent")
	}
	return path, err
}

// routed gives a request the path that was judged, whichever field a router looks at.
func routed(out *http.Request, path string) {
	if out.URL.RawPath != "" || out.URL.Scheme != "" || out.URL.Host != "" {
		u := *out.URL
		u.Path, u.RawPath, u.Scheme, u.Host = path, "", "", ""
		out.URL = &u
		out.RequestURI = u.RequestURI()
	}
}

// refuse says no, and never why.
func refuse(w http.ResponseWriter, d *Decision) {
	status, text := http.StatusForbidden, "this caller may not make this request"
	switch d.Err {
	case ErrUnauthenticated:
		status, text = http.StatusUnauthorized, "a valid token is required"
		w.Header().Set("WWW-Authenticate", "Bearer")
	case ErrNotReady:
		status, text = http.StatusServiceUnavailable, "the rules for callers are not known yet"
	case ErrAmbiguous:
		status, text = http.StatusBadRequest, "the request can be read in more than one way"
	}
	http.Error(w, text, status)
}
