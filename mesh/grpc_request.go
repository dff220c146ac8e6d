package mesh

import (
	"context"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/tap"

	"github.com/weft-mesh/weft/resilience"
	"github.com/weft-mesh/weft/security/authz"
)

// request is the context of a gRPC request, made when its headers have come: one
// allocation for all that the layers keep of it.
type request struct {
	context.Context // of the transport
	call            authz.GRPCCall
	inbound         resilience.Inbound
	header          metadata.MD
}

type requestKey struct{}

func (r *request) Value(key any) any {
	if key == (requestKey{}) {
		return r
	}
	if v := r.call.Value(key); v != nil {
		return v
	}
	if v := r.inbound.Value(key); v != nil {
		return v
	}
	return r.Context.Value(key)
}

// headerOf is the metadata of a request, not to be changed.
func headerOf(ctx context.Context) metadata.MD {
	if r, ok := ctx.Value(requestKey{}).(*request); ok {
		return r.header
	}
	md, _ := metadata.FromIncomingContext(ctx) // there was no tap
	return md
}

// tapped is what stands before the body of each request: who may not call, then what
// sheds, because a place is not spent on who may not call. shed may be nil.
func tapped(may *authz.GRPCServer, shed tap.ServerInHandle) tap.ServerInHandle {
	return func(ctx context.Context, info *tap.Info) (context.Context, error) {
		r := &request{Context: ctx, header: info.Header}
		attempt := 1
		if v := info.Header[resilience.GRPCAttemptKey]; len(v) == 1 {
			attempt = resilience.ParsePreviousAttempts(v[0])
		}
		r.inbound.Reserve(attempt)
		if err := may.TapInto(ctx, info, &r.call); err != nil {
			return ctx, err
		}
		if shed == nil {
			return r, nil
		}
		return shed(r, info)
	}
}
