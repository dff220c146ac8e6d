package mesh

import (
	"context"
	"io"
	"net/http"
)

// mirrorDiscard bounds what is read of the answer to a copy.
const mirrorDiscard = 64 << 10

// mirrorHeader is mirrorKey as http.Header has it.
const mirrorHeader = "Weft-Mirror"

// mirrorHTTP sends a copy of a request, if it was drawn for one. A body is copied only
// if the request has GetBody, as those of the usual readers have.
func (d *decided) mirrorHTTP(req *http.Request) {
	if !d.Mirror || d.mirror == nil || mirrored(req.Context()) {
		return
	}
	out := req.Clone(context.WithoutCancel(req.Context()))
	if req.Body != nil && req.Body != http.NoBody {
		if req.GetBody == nil {
			d.mirror.dropped.Add(1)
			return
		}
		body, err := req.GetBody()
		if err != nil {
			d.mirror.dropped.Add(1)
			return
		}
		out.Body = body
	}
	out.URL.Host = d.mirror.service
	out.Header.Set(mirrorKey, "1")
	client := d.mirror.m.http.client.Transport
	if !d.mirror.send(out.Context(), func(ctx context.Context) {
		resp, err := client.RoundTrip(out.WithContext(ctx))
		if err != nil {
			return
		}
		_, _ = io.CopyN(io.Discard, resp.Body, mirrorDiscard)
		_ = resp.Body.Close()
	}) && out.Body != nil {
		_ = out.Body.Close()
	}
}

// markMirrored tells the handler's calls that their request is a copy.
func markMirrored(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if v := req.Header[mirrorHeader]; len(v) > 0 && v[0] != "" {
			req = req.WithContext(context.WithValue(req.Context(), mirroredKey{}, true))
		}
		h.ServeHTTP(w, req)
	})
}
