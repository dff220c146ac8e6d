package mesh

import (
	"context"
	"net/http"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/resolver/chain"
)

// request decides about a request, once for all its attempts, and makes the changes
// that the chain asks for. The request that it returns is the caller's to send.
func (to *destination) request(ctx context.Context, call *balancer.Call, req *http.Request) (*http.Request, decided, error) {
	if to.router == nil {
		return req.WithContext(ctx), decided{way: to.way}, nil
	}
	d, err := to.router.decide(ctx, func(*chain.Evaluator) chain.Request { return chain.HTTPRequest(req) })
	if err != nil {
		return req, d, err
	}
	call.Lane = d.lane
	if d.HasHash {
		call.Hash, call.HasHash = d.Hash, true
	}
	out := req.WithContext(ctx)
	if d.Plan.Rewrites() {
		out.URL = d.Plan.RewriteURL(req.URL)
		call.Path = out.URL.Path
	}
	if mirrored(ctx) && req.Header.Get(mirrorKey) == "" {
		out.Header = out.Header.Clone()
		out.Header.Set(mirrorKey, "1")
	}
	if edits := d.Plan.RequestEdits; len(edits) > 0 {
		out.Header = out.Header.Clone()
		if out.Header == nil {
			out.Header = http.Header{}
		}
		if host := edits.ApplyHTTP(out.Header); host != "" {
			out.Host = host
		}
	}
	return out, d, nil
}

// response makes the changes of the chain to a response.
func (d *decided) response(resp *http.Response) {
	if d.Plan == nil {
		return
	}
	if len(d.Plan.ResponseEdits) > 0 {
		d.Plan.ResponseEdits.ApplyHTTP(resp.Header)
	}
	if d.Cookie != nil {
		resp.Header.Add("Set-Cookie", d.Cookie.HTTP().String())
	}
}
