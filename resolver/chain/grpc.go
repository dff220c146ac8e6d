package chain

import (
	"context"

	"google.golang.org/grpc/metadata"
)

// outgoing is the values of a call's metadata.
func outgoing(ctx context.Context, lower string) []string {
	if ctx == nil {
		return nil
	}
	if lower == "content-type" { // added by the transport
		return []string{"application/grpc"}
	}
	return metadata.ValueFromOutgoingContext(ctx, lower)
}

// GRPCRequest is what a chain reads of a call of method, "/pkg.Service/Method", with
// the outgoing metadata of ctx. authority may be empty. Metadata that the transport
// or credentials add later cannot be matched. If the evaluator reads no headers,
// see [Evaluator.ReadsHeaders], ctx may be nil.
func GRPCRequest(ctx context.Context, method, authority string) Request {
	return Request{Method: "POST", Path: method, Authority: authority, ctx: ctx}
}

// ApplyGRPC changes the outgoing metadata of ctx. An edit of the host is not for
// metadata; see [Edits.Host].
func (e Edits) ApplyGRPC(ctx context.Context) context.Context {
	if len(e) == 0 {
		return ctx
	}
	md, _ := metadata.FromOutgoingContext(ctx)
	return metadata.NewOutgoingContext(ctx, e.ApplyMD(md))
}

// ApplyMD changes md, which may be nil, and returns it: a response's header, or
// the caller's own copy of a request's.
func (e Edits) ApplyMD(md metadata.MD) metadata.MD {
	if md == nil {
		md = metadata.MD{}
	}
	for i := range e {
		x := &e[i]
		switch {
		case x.Name == "host":
		case x.Op == Remove:
			delete(md, x.Name)
		case x.Op == Set:
			md[x.Name] = []string{x.Value}
		default:
			md[x.Name] = append(md[x.Name], x.Value)
		}
	}
	return md
}
