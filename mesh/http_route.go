package mesh

import (
	"net/http"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/resolver/chain"
)

// request decides about a request, once for all its attempts, and makes the changes
// that the chain asks for to out, a copy that is ours but for its URL and header.
func (to *destination) request(call *balancer.Call, out *http.Request) (decided, error) {
	if to.router == nil {
		return decided{way: to.way}, nil
	}
	ctx := out.Context()
	d, err := to.router.decide(ctx, func(*chain.Evaluator) chain.Request { return chain.HTTPRequest(out) })
	if err != nil {
		return d, err
	}
	call.Lane = d.lane
	if d.HasHash {
		call.Hash, call.HasHash = d.Hash, true
	}
	if d.Plan.Rewrites() {
		out.URL = d.Plan.RewriteURL(out.URL)
		call.Path = out.URL.Path
	}
	if mirrored(ctx) && out.Header.Get(mirrorKey) == "" {
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
	return d, nil
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
