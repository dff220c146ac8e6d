package resilience

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

func inboundOptions(cfg InboundConfig) []grpc.ServerOption {
	i := NewGRPCInbound(cfg)
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(i.Unary), grpc.ChainStreamInterceptor(i.Stream)}
}

func TestGRPCInbound(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		cfg  InboundConfig
		md   []string
		want int
	}{
		{name: "first", want: 1},
		{name: "third", md: []string{GRPCAttemptKey, "2"}, want: 3},
		{name: "nonsense", md: []string{GRPCAttemptKey, "-2"}, want: 1},
		{name: "two", md: []string{GRPCAttemptKey, "2", GRPCAttemptKey, "3"}, want: 1},
		{name: "untrusted", cfg: InboundConfig{Untrusted: true}, md: []string{GRPCAttemptKey, "2"}, want: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			check := func(ctx context.Context) {
				if in := InboundFrom(ctx); in == nil || in.Attempt != tt.want {
					t.Errorf("inbound %+v, want attempt %d", in, tt.want)
				}
			}
			s := &pays{
				unary: func(ctx context.Context, _ *pb.SimpleRequest) (*pb.SimpleResponse, error) {
					check(ctx)
					return say("fine"), nil
				},
				duplex: func(ss pb.TestService_FullDuplexCallServer) error { check(ss.Context()); return nil },
			}
			c := dial(t, s.serve(t, inboundOptions(tt.cfg)...), GRPCClientConfig{Service: "bare"})
			ctx := metadata.AppendToOutgoingContext(t.Context(), tt.md...)
			if _, err := c.UnaryCall(ctx, &pb.SimpleRequest{}); err != nil {
				t.Error(err)
			}
			st, err := c.FullDuplexCall(ctx)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = st.Recv()
		})
	}
}

func TestGRPCInboundDeadline(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	s := &pays{unary: func(context.Context, *pb.SimpleRequest) (*pb.SimpleResponse, error) {
		calls.Add(1)
		return say("fine"), nil
	}}
	addr := s.serve(t, inboundOptions(InboundConfig{Deadline: gate(t, DeadlineConfig{Min: time.Minute})})...)
	c := dial(t, addr, GRPCClientConfig{Loop: eager(t, LoopConfig{}), Idempotent: []string{unaryMethod}})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err := c.UnaryCall(ctx, &pb.SimpleRequest{})
	if status.Code(err) != codes.DeadlineExceeded || calls.Load() != 0 {
		t.Errorf("%v after %d calls", err, calls.Load())
	}
	long, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	noLimit := dial(t, addr, GRPCClientConfig{Loop: eager(t, LoopConfig{Timeout: NoTimeout})})
	if _, err = noLimit.UnaryCall(long, &pb.SimpleRequest{}); err != nil || calls.Load() != 1 {
		t.Errorf("with enough time: %v after %d calls", err, calls.Load())
	}
}

// Over real gRPC: only the layer above the dead service retries, and the mark
// passes through the middle of the chain.
func TestGRPCChain(t *testing.T) {
	t.Parallel()
	var leaf atomic.Int64
	dead := &pays{unary: func(context.Context, *pb.SimpleRequest) (*pb.SimpleResponse, error) {
		leaf.Add(1)
		return nil, status.Error(codes.Unavailable, "dead")
	}}
	addr := dead.serve(t)
	for range 2 {
		below := dial(t, addr, GRPCClientConfig{Loop: eager(t, LoopConfig{}), Idempotent: []string{unaryMethod}})
		s := &pays{unary: func(ctx context.Context, in *pb.SimpleRequest) (*pb.SimpleResponse, error) {
			return below.UnaryCall(ctx, in)
		}}
		addr = s.serve(t, inboundOptions(InboundConfig{})...)
	}
	c := dial(t, addr, GRPCClientConfig{Loop: eager(t, LoopConfig{}), Idempotent: []string{unaryMethod}})
	if _, err := c.UnaryCall(t.Context(), &pb.SimpleRequest{}); status.Code(err) != codes.Unavailable || leaf.Load() != 3 {
		t.Errorf("%v after %d calls at the leaf, want 3 attempts of one layer", err, leaf.Load())
	}
}

// The option idempotency_level of a method counts as well as a policy's list.
func TestGRPCIdempotencyLevel(t *testing.T) {
	t.Parallel()
	method := func(name string, level descriptorpb.MethodOptions_IdempotencyLevel) *descriptorpb.MethodDescriptorProto {
		return &descriptorpb.MethodDescriptorProto{
			Name: proto.String(name), InputType: proto.String(".weft.levels.M"), OutputType: proto.String(".weft.levels.M"),
			Options: &descriptorpb.MethodOptions{IdempotencyLevel: level.Enum()},
		}
	}
	if protoregistry.GlobalFiles.NumFilesByPackage("weft.levels") == 0 { // with -count there is a second time
		fd, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
			Name: proto.String("weft/levels.proto"), Package: proto.String("weft.levels"),
			MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("M")}},
			Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("S"), Method: []*descriptorpb.MethodDescriptorProto{
				method("Read", descriptorpb.MethodOptions_NO_SIDE_EFFECTS),
				method("Put", descriptorpb.MethodOptions_IDEMPOTENT),
				method("Add", descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN),
			}}},
		}, protoregistry.GlobalFiles)
		if err != nil {
			t.Fatal(err)
		}
		if err := protoregistry.GlobalFiles.RegisterFile(fd); err != nil {
			t.Fatal(err)
		}
	}
	m, err := newIdempotency([]string{"/pay.Pay/Get", "/cat.Cat/"})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"/weft.levels.S/Read": true, "/weft.levels.S/Put": true, "/weft.levels.S/Add": false, "/weft.levels.S/None": false,
		"/pay.Pay/Get": true, "/pay.Pay/Charge": false, "/cat.Cat/List": true, "/cat.CatX/List": false, "": false, "x": false, "/": false,
	} {
		for range 2 { // the second time from the cache
			if got := m.of(name); got != want {
				t.Errorf("%q is idempotent: %v", name, got)
			}
		}
	}
	for i := range 2 * maxMethods {
		m.of("/weft.levels.S/M" + string(rune('a'+i)))
	}
	if n := m.cached.Load(); n > maxMethods {
		t.Errorf("%d methods are cached, at most %d", n, maxMethods)
	}
	for _, bad := range []string{"", "pay.Pay/Get", "/pay.Pay", "//Get", "/pay.Pay/Get/More"} {
		if _, err := newIdempotency([]string{bad}); err == nil {
			t.Errorf("%q was taken for a method", bad)
		}
	}
}
