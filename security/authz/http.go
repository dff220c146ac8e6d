package authz

import (
	"bytes"
	"net/http"
	"strings"
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
	return &httpHandler{a: a, next: next}
}

type httpHandler struct {
	a    *Authorizer
	next http.Handler
	ids  [64]atomic.Pointer[knownPeer]
}

// judged is a request that is judged and served, in one piece.
type judged struct {
	admitted
	req Request
	out http.Request // as the handler gets it
}

// ServeHTTP implements http.Handler.
func (h *httpHandler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	j := &judged{req: Request{
		Caller: h.caller(req), Protocol: "http", Method: req.Method, Path: req.URL.Path, Query: req.URL.RawQuery,
		Authority: req.Host, Headers: httpHeaders(req.Header),
	}}
	r := &j.req
	path, err := h.path(req)
	if err != nil {
		d := h.a.finish(r, ambiguous(err))
		refuse(w, &d)
		return
	}
	r.Path = path
	d := h.a.Admit(req.Context(), r)
	if !d.Allowed {
		refuse(w, &d)
		return
	}
	for name := range req.Header {
		if unwelcome(name) {
			delete(req.Header, name)
		}
	}
	j.Context, j.Admission = req.Context(), r.admission(&d)
	h.next.ServeHTTP(w, j.routed(req, path))
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

// routed is the request with the path that was judged, whichever field a router
// looks at.
func (j *judged) routed(req *http.Request, path string) *http.Request {
	out := &j.out
	*out = *req.WithContext(&j.admitted)
	if req.URL.RawPath != "" || req.URL.Scheme != "" || req.URL.Host != "" {
		u := *req.URL
		u.Path, u.RawPath, u.Scheme, u.Host = path, "", "", ""
		out.URL = &u
		out.RequestURI = u.RequestURI()
	}
	return out
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
