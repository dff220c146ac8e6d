package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// worker does the calls.
type worker struct {
	grpc_testing.UnimplementedTestServiceServer
	fail atomic.Uint64 // float64 bits; not 0: all calls fail at once

	mu  sync.Mutex
	out *bufio.Writer
}

func (w *worker) say(line string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, _ = w.out.WriteString(line + "\n")
	_ = w.out.Flush() // nobody listens any more: the input ends too
}

func (w *worker) obey(in io.Reader) {
	for lines := bufio.NewScanner(in); lines.Scan(); {
		word, value, _ := strings.Cut(lines.Text(), " ")
		if v, err := strconv.ParseFloat(value, 64); err == nil && word == "fail" {
			w.fail.Store(math.Float64bits(v))
		}
	}
}

// workTime is how long a call takes.
const workTime = 5 * time.Millisecond

func (w *worker) work(ctx context.Context) error {
	if v := metadata.ValueFromIncomingContext(ctx, idKey); len(v) > 0 {
		w.say(fmt.Sprintf("got %s %d", v[0], time.Now().UnixNano()))
	}
	if w.fail.Load() != 0 {
		return status.Error(codes.Unavailable, "the drill says so")
	}
	t := time.NewTimer(workTime)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

func (w *worker) UnaryCall(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	return &grpc_testing.SimpleResponse{}, w.work(ctx)
}

func (w *worker) CacheableUnaryCall(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	return &grpc_testing.SimpleResponse{}, w.work(ctx)
}

func (w *worker) EmptyCall(ctx context.Context, _ *grpc_testing.Empty) (*grpc_testing.Empty, error) {
	return &grpc_testing.Empty{}, w.work(ctx)
}

func (w *worker) FullDuplexCall(s grpc.BidiStreamingServer[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse]) error {
	if err := s.Send(&grpc_testing.StreamingOutputCallResponse{}); err != nil {
		return err
	}
	<-s.Context().Done()
	return s.Context().Err()
}
