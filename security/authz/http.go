package authz

import (
	"net/http"
	"strings"

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
	return &httpHandler{a, next}
}

type httpHandler struct {
	a    *Authorizer
	next http.Handler
}

// ServeHTTP implements http.Handler.
func (h *httpHandler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	caller, _ := security.PeerFromRequest(req)
	r := &Request{
		Caller: caller, Protocol: "http", Method: req.Method, Path: req.URL.Path, Query: req.URL.RawQuery,
		Authority: req.Host, Headers: httpHeaders(req.Header),
	}
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
	h.next.ServeHTTP(w, routed(req, &admitted{Context: req.Context(), Admission: r.admission(&d)}, path))
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
func routed(req *http.Request, ctx *admitted, path string) *http.Request {
	out := req.WithContext(ctx)
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
