package drills

import (
	"context"
	"net"
	"strconv"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/internal/drill"
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resilience"
)

// hop passes calls on to the next service.
type hop struct {
	grpc_testing.UnimplementedTestServiceServer
	next grpc_testing.TestServiceClient
	cut  bool // the calls that it makes know nothing of the one that they are made for
}

func (h *hop) UnaryCall(ctx context.Context, req *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	out := metadata.AppendToOutgoingContext(ctx, idKey, idOf(ctx))
	if h.cut {
		end, _ := ctx.Deadline()
		var cancel context.CancelFunc
		out, cancel = context.WithDeadline(metadata.AppendToOutgoingContext(context.Background(), idKey, idOf(ctx)), end)
		defer cancel()
	}
	reply, err := h.next.UnaryCall(out, req)
	if err != nil && h.cut {
		err = status.Error(codes.Unavailable, "a service below")
	}
	return reply, err
}

// D13: a chain caller > front > middle > payments, whose leaf is dead: it answers
// each call with Unavailable.
func TestRetryStorm(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		budget resilience.BudgetConfig
		cut    bool
		kept   bool
	}{
		{"D13", resilience.BudgetConfig{}, false, true},
		{"twin without the chain's stop", resilience.BudgetConfig{}, true, false},
		{"twin without budgets", resilience.BudgetConfig{Ratio: 1, Reserve: 1e6}, false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			policy := mesh.ServicePolicy{Budget: tc.budget}
			run(t, setup{policy: policy}, func(s *scene) {
				client := s.client
				for i, name := range []string{"middle", "front"} {
					client = s.addHop(name, byte(i), client, policy, tc.cut)
				}
				s.eachNode(func(n *node) { n.failing(1) })
				const rate, length = 100, 10 * time.Second
				before := s.receipts()
				l := drill.NewLedger() // these calls are not the caller's in s.ledger
				drill.Open(context.Background(), l, drill.Load{Rate: rate, Length: length, Do: func(ctx context.Context, r *drill.Request) error {
					_, err := client.UnaryCall(metadata.AppendToOutgoingContext(ctx, idKey, "of the chain "+strconv.Itoa(r.ID)), &grpc_testing.SimpleRequest{})
					return err
				}})
				got := float64(s.receipts()-before) / (rate * length.Seconds())
				if tc.kept {
					t.Logf("the leaf got %.3f of what was offered (promised: 1.3)", got)
					if got > 1.3 {
						t.Errorf("the leaf got %.3f times what was offered, at most 1.3 is promised", got)
					}
					if got < 0.9 {
						t.Errorf("the leaf got %.3f times what was offered: not even each call once", got)
					}
				} else {
					t.Logf("the leaf got %.3f of what was offered, without what bounds it", got)
					if got <= 1.3 {
						t.Error("the promise is kept also without what is to keep it, so the drill shows nothing")
					}
				}
				if err := drill.CheckEnds(l.Requests(nil), 50*time.Millisecond); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func (s *scene) receipts() (n int64) {
	for _, x := range s.nodes {
		n += x.got.Load()
	}
	return n
}

// addHop puts a service in front of what client calls, and returns a client of it.
// The first hop calls with the scene's caller.
func (s *scene) addHop(name string, i byte, client grpc_testing.TestServiceClient, p mesh.ServicePolicy, cut bool) grpc_testing.TestServiceClient {
	s.t.Helper()
	p.Idempotent = []string{"/grpc.testing.TestService/"}
	m := s.join(name, name, "", p, nil)
	l, err := s.net.Listen(name, &net.TCPAddr{IP: net.IPv4(10, 1, i, 1), Port: 81})
	s.must(err)
	srv := m.NewGRPCServer()
	grpc_testing.RegisterTestServiceServer(srv, &hop{next: client, cut: cut})
	(&node{s: s, name: name}).serve(m, srv, l)
	next := s.join("caller-of-"+name, "home", "", p, nil)
	conn, err := next.Dial(name)
	s.must(err)
	s.onClose(func() { _ = conn.Close() })
	c := grpc_testing.NewTestServiceClient(conn)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err = c.UnaryCall(ctx, &grpc_testing.SimpleRequest{})
	s.must(err)
	return c
}
