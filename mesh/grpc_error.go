package mesh

import (
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/balancer"
)

// GRPCStatus is the status of the cause with the message of the whole error.
func (e *Error) GRPCStatus() *status.Status {
	s, ok := status.FromError(e.Err)
	if !ok {
		s = status.FromContextError(e.Err)
		if s.Code() == codes.Unknown && errors.Is(e.Err, balancer.ErrNoEndpoint) {
			s = status.New(codes.Unavailable, s.Message())
		}
	}
	p := s.Proto()
	p.Message = e.Error()
	return status.FromProto(p)
}
