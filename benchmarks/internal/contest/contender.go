package contest

import (
	"context"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"
)

// Payload is the size of what is echoed.
const Payload = 1 << 10

// Contender is a stack.
type Contender struct {
	Name string
	// About says what is on, in one line.
	About string
	// Serve starts the server. dir is a folder that both processes share.
	Serve func(ctx context.Context, dir string) (*Server, error)
	// Dial makes the client of a server at addr; the first call follows at once.
	Dial func(ctx context.Context, dir, addr string) (*Client, error)
}

// Server listens.
type Server struct {
	Addr  string
	Close func() error
}

// Client calls.
type Client struct {
	// Caller gives one of many concurrent callers its call.
	Caller func() Call
	// Stream opens a stream of echoed messages for one caller. nil: there are none.
	Stream func(ctx context.Context) (Call, error)
	Close  func() error
}

// Call is one echo.
type Call func(ctx context.Context) error

// GRPC is a client on a connection. The deadline of a call is that of its context.
func GRPC(conn grpc.ClientConnInterface, closing func() error) *Client {
	client := grpc_testing.NewTestServiceClient(conn)
	return &Client{
		Caller: func() Call {
			req := &grpc_testing.SimpleRequest{ResponseSize: Payload, Payload: &grpc_testing.Payload{Body: make([]byte, Payload)}}
			return func(ctx context.Context) error {
				r, err := client.UnaryCall(ctx, req)
				if err == nil && len(r.GetPayload().GetBody()) != Payload {
					err = fmt.Errorf("the echo has %d bytes", len(r.GetPayload().GetBody()))
				}
				return err
			}
		},
		Stream: func(ctx context.Context) (Call, error) {
			s, err := client.FullDuplexCall(ctx)
			if err != nil {
				return nil, err
			}
			req := &grpc_testing.StreamingOutputCallRequest{Payload: &grpc_testing.Payload{Body: make([]byte, Payload)}}
			return func(context.Context) error {
				if err := s.Send(req); err != nil {
					return err
				}
				r, err := s.Recv()
				if err == nil && len(r.GetPayload().GetBody()) != Payload {
					err = fmt.Errorf("the echo has %d bytes", len(r.GetPayload().GetBody()))
				}
				return err
			}, nil
		},
		Close: closing,
	}
}

// Echo is the service of all gRPC servers.
type Echo struct {
	grpc_testing.UnimplementedTestServiceServer
}

// UnaryCall answers with what it was sent.
func (Echo) UnaryCall(_ context.Context, req *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	return &grpc_testing.SimpleResponse{Payload: req.Payload}, nil
}

// FullDuplexCall answers each message with what it was sent.
func (Echo) FullDuplexCall(s grpc.BidiStreamingServer[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse]) error {
	for {
		req, err := s.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.Send(&grpc_testing.StreamingOutputCallResponse{Payload: req.Payload}); err != nil {
			return err
		}
	}
}

// Order is a slice of load.
type Order struct {
	Callers int
	For     time.Duration
	// Stream has callers echo messages on one stream each, instead of calls.
	Stream bool
	// Rate is how many calls a second begin, whatever becomes of those before: a
	// call's latency counts from when it was due. At most Callers are under way; those
	// that are due later wait, and that counts. 0: each caller calls when it has its answer.
	Rate float64
}
