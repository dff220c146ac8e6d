package balancer

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/resilience"
)

// A gRPC picker must not wait, and a gate may. So an attempt under Config.Gate
// goes to gRPC twice: the first time its pick ends with errGate and leaves the
// node in the attempt's slot; then the interceptors below enter the gate, and the
// second time the pick takes the node of the slot. Without a Gate none of this runs.

// gateSlot is what one attempt and its pick tell each other. gRPC picks for an
// attempt on the attempt's own goroutine, so it needs no lock.
type gateSlot struct {
	context.Context
	node   *Node // chosen and counted in flight
	start  int64
	passed bool // the gate was entered: further picks are free
}

type gateKey struct{}

func (s *gateSlot) Value(key any) any {
	if key == (gateKey{}) {
		return s
	}
	return s.Context.Value(key)
}

// errGate ends the first pick of an attempt, also of one that waits for ready.
type errGate struct{}

func (errGate) Error() string {
	return "balancer: Config.Gate needs the interceptors GateUnary and GateStream on the connection"
}

func (e errGate) GRPCStatus() *status.Status { return status.New(codes.Unavailable, e.Error()) }

// pickGated is Pick under a Gate. It reports errGate if the gate must be entered first.
func (b *Balancer) pickGated(ctx context.Context, c *Call) (*Node, int64, error) {
	slot, _ := ctx.Value(gateKey{}).(*gateSlot)
	if slot != nil && slot.node != nil {
		n := slot.node
		slot.node = nil
		return n, slot.start, nil
	}
	n, err := b.Pick(c)
	if err != nil {
		return nil, 0, err
	}
	start := Now()
	if slot != nil && slot.passed {
		return n, start, nil
	}
	if slot == nil {
		n.Done(start, resilience.Outcome{Unsent: true})
		return nil, 0, errGate{}
	}
	slot.node, slot.start = n, start
	return nil, 0, errGate{}
}

// GateUnary enters g for each attempt, once its endpoint was chosen, with
// Info.Cloud known. g must be the Config.Gate of the connection's balancer. Put it
// inside of everything that repeats.
func GateUnary(g resilience.Gate) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		slot := &gateSlot{Context: ctx}
		err := invoke(slot, method, req, reply, cc, opts...)
		if !errors.As(err, &errGate{}) {
			return err
		}
		done, err := slot.enter(g, method, false)
		if err != nil {
			return err
		}
		err = invoke(slot, method, req, reply, cc, opts...)
		slot.unused()
		done(gateOutcome(ctx, err))
		return err
	}
}

// GateStream is GateUnary for streams; the gate is left when the stream ends.
func GateStream(g resilience.Gate) grpc.StreamClientInterceptor {
	return func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		slot := &gateSlot{Context: ctx}
		s, err := streamer(slot, desc, cc, method, opts...)
		if !errors.As(err, &errGate{}) {
			return s, err
		}
		done, err := slot.enter(g, method, true)
		if err != nil {
			return nil, err
		}
		s, err = streamer(slot, desc, cc, method, append(opts, grpc.OnFinish(func(err error) { done(gateOutcome(ctx, err)) }))...)
		slot.unused()
		if err != nil { // there is no stream that could finish
			done(gateOutcome(ctx, err))
		}
		return s, err
	}
}

// enter asks the gate about the chosen node. A refusal counts against the node as
// the gate says.
func (s *gateSlot) enter(g resilience.Gate, method string, stream bool) (func(resilience.Outcome), error) {
	n := s.node
	in := resilience.Info{Service: n.Endpoint().Service, Method: method, Cloud: n.Endpoint().Locality.Cloud, Stream: stream}
	done, err := g.Enter(s.Context, &in)
	if err != nil {
		s.node = nil
		n.Done(s.start, resilience.OutcomeOf(err))
		return nil, resilience.GRPCRefusal(err)
	}
	s.passed = true
	return done, nil
}

// unused gives the node back if no pick came for it.
func (s *gateSlot) unused() {
	if n := s.node; n != nil {
		s.node = nil
		n.Done(s.start, resilience.Outcome{Unsent: true})
	}
}

func gateOutcome(ctx context.Context, err error) resilience.Outcome {
	end, _ := resilience.CallDeadline(ctx)
	return resilience.FromGRPC(resilience.GRPCReply{Err: err, BytesSent: true, CallerEnded: err != nil && resilience.CallerEnded(ctx, end)})
}
