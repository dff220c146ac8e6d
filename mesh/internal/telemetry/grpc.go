package telemetry

import (
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// statusNames are the names of gRPC's codes in the conventions.
var statusNames = [...]string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
	"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
	"UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
}

// StatusName is the name of a code, from a number of Status.
func StatusName(end int) string { return statusNames[end] }

// Status is how an RPC ended: the code of err, as an end of a [Cell].
func Status(err error) int {
	if err == nil {
		return 0
	}
	c := int(status.Code(err))
	if c >= len(statusNames) {
		c = int(codes.Unknown)
	}
	return c
}

// serverErrors are the codes that the conventions count as errors of a server.
const serverErrors = 1<<codes.Unknown | 1<<codes.DeadlineExceeded | 1<<codes.Unimplemented |
	1<<codes.Internal | 1<<codes.Unavailable | 1<<codes.DataLoss

// Failed reports whether an end is an error, seen from a server or a client.
func Failed(end int, server bool) bool {
	if server {
		return serverErrors>>end&1 == 1
	}
	return end != int(codes.OK)
}

// RPCMethod is a full method in the conventions' form, "pay.Pay/Charge".
func RPCMethod(full string) string { return strings.TrimPrefix(full, "/") }

// RPCClient makes the cells of the RPCs to a service. Make them once.
func (r *Registry) RPCClient(service string) *Group[string] {
	return r.rpc(RPCClientDuration, false, attribute.String(AttrServerAddress, service))
}

// RPCServer makes the cells of the RPCs that this member serves. Make them once.
func (r *Registry) RPCServer() *Group[string] { return r.rpc(RPCServerDuration, true) }

func (r *Registry) rpc(metric string, server bool, more ...attribute.KeyValue) *Group[string] {
	g := newGroup(r, Other, func(method string) *Cell {
		return newCell(len(statusNames), r.cfg.Slow, func(end int) []attribute.KeyValue {
			attrs := append(more[:len(more):len(more)],
				attribute.String(AttrRPCSystem, "grpc"),
				attribute.String(AttrRPCMethod, RPCMethod(method)),
				attribute.String(AttrRPCStatus, statusNames[end]))
			if Failed(end, server) {
				attrs = append(attrs, attribute.String(AttrErrorType, statusNames[end]))
			}
			return attrs
		})
	})
	r.add(metric, g.series)
	return g
}
