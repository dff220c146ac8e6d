package mesh

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/resolver/chain"
)

// rpc decides about a call, once for all its attempts, and makes the changes that
// the chain asks for.
func (to *destination) rpc(ctx context.Context, call *balancer.Call, method string) (context.Context, string, decided, error) {
	if to.router == nil {
		return ctx, method, decided{way: to.way}, to.way.rpc.err
	}
	d, err := to.router.decide(ctx, func(e *chain.Evaluator) chain.Request {
		if !e.ReadsHeaders() {
			return chain.Request{Method: "POST", Path: method, Authority: to.router.service}
		}
		return chain.GRPCRequest(ctx, method, to.router.service)
	})
	if err != nil {
		return ctx, method, d, routeStatus(err)
	}
	call.Lane = d.lane
	if d.HasHash {
		call.Hash, call.HasHash = d.Hash, true
	}
	if d.Plan.Rewrites() {
		method = d.Plan.Rewrite(method)
	}
	if markedRPC(ctx) && !mirrored(ctx) {
		ctx = metadata.AppendToOutgoingContext(ctx, mirrorKey, "1")
	}
	return d.Plan.RequestEdits.ApplyGRPC(ctx), method, d, d.rpc.err
}

// routeStatus gives an error of routing the code that Envoy gives it.
func routeStatus(err error) error {
	if errors.Is(err, chain.ErrNoRoute) {
		return status.Error(codes.Unimplemented, err.Error())
	}
	return status.FromContextError(err).Err()
}

// edit changes the header of a reply, where the caller asked for it, as the chain says.
func (d *decided) edit(opts []grpc.CallOption) {
	if d.Plan == nil || len(d.Plan.ResponseEdits) == 0 && d.Cookie == nil {
		return
	}
	for _, o := range opts {
		if h, ok := o.(grpc.HeaderCallOption); ok {
			*h.HeaderAddr = d.editMD(*h.HeaderAddr)
		}
	}
}

// editMD is a reply's header with the chain's changes.
func (d *decided) editMD(md metadata.MD) metadata.MD {
	if d.Plan == nil {
		return md
	}
	if len(d.Plan.ResponseEdits) > 0 {
		md = d.Plan.ResponseEdits.ApplyMD(md)
	}
	if d.Cookie != nil {
		if md == nil {
			md = metadata.MD{}
		}
		md.Append("set-cookie", d.Cookie.HTTP().String())
	}
	return md
}
