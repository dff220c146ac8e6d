package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/internal/drill"
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/consul"
)

// stage is a drill under way: its endpoints, its caller and its ledger.
type stage struct {
	ctx    context.Context
	name   string
	agents []*consultest.Agent
	ledger *drill.Ledger
	// of requests that the caller may not make
	intrusions *drill.Ledger
	sets       func() []int // ends the watch of how many endpoints there were
	nodes      []*node
	caller     *mesh.Mesh
	client     grpc_testing.TestServiceClient
	events     drill.Events
	changes    drill.Events
	files      int // open, and goroutines, before
	routines   int
	figures    []string
	broken     []error

	mu    sync.Mutex
	names map[string]string
}

// node is an endpoint; fwd is what stands before it, or nil.
type node struct {
	*process
	fwd *forwarder
}

var clouds = []string{"aws", "azure", "gcp"}

// newStage starts perCloud endpoints in each of the first n clouds. The caller is in
// the first.
func newStage(ctx context.Context, name string, agents []*consultest.Agent, n, perCloud int, forwarded bool, policy mesh.ServicePolicy) (*stage, error) {
	s := &stage{ctx: ctx, name: name, agents: agents, ledger: drill.NewLedger(), intrusions: drill.NewLedger(), names: map[string]string{}, files: openFiles(), routines: runtime.NumGoroutine()}
	if err := s.forbid(ctx); err != nil {
		return s, err
	}
	var wg sync.WaitGroup
	errs := make([]error, n*perCloud)
	for c := range n {
		for i := range perCloud {
			nd, err := s.newNode(c, i, forwarded)
			if err != nil {
				return s, err
			}
			wg.Go(func() { errs[c*perCloud+i] = nd.start(ctx) })
		}
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return s, err
	}
	return s, s.join(policy)
}

func (s *stage) newNode(c, i int, forwarded bool) (*node, error) {
	// A port that is free now; the process listens on it in a moment.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	_ = l.Close()
	p := &process{got: s.got, role: role{
		Service: s.service(), Name: clouds[c] + "-" + strconv.Itoa(i+1), Cloud: clouds[c],
		Consul: s.agents[c].HTTPAddr(), Listen: addr, Advertise: addr,
	}}
	n := &node{process: p}
	if forwarded {
		if n.fwd, err = forward(); err != nil {
			return nil, err
		}
		n.fwd.to, p.role.Advertise = addr, n.fwd.addr()
	}
	s.names[p.role.Advertise] = p.role.Name
	s.nodes = append(s.nodes, n)
	return n, nil
}

func (s *stage) nameOf(addr net.Addr) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.names[addr.String()]; n != "" {
		return n
	}
	return addr.String()
}

// join makes the caller, and waits until it knows every endpoint and has called it.
func (s *stage) join(policy mesh.ServicePolicy) error {
	policy.Idempotent = []string{"/grpc.testing.TestService/UnaryCall"}
	s.changes.Tell(&policy.Outlier, &policy.Breaker, nil)
	cfg := mesh.Config{
		Service: "caller", Locality: resolver.Locality{Cloud: clouds[0]}, Policy: policy, SnapshotDir: "off",
		ConnectTimeout: 2 * time.Second, Logger: slog.New(&s.events),
	}
	for i, a := range s.agents {
		cfg.Clouds = append(cfg.Clouds, consul.Config{Name: clouds[i], Address: a.HTTPAddr()})
	}
	m, err := mesh.Join(s.ctx, cfg)
	if err != nil {
		return err
	}
	s.caller = m
	conn, err := m.Dial(s.service(), grpc.WithStatsHandler(drill.Sends{Name: s.nameOf}))
	if err != nil {
		return err
	}
	s.client = grpc_testing.NewTestServiceClient(conn)
	home := map[string]bool{}
	for _, n := range s.nodes {
		if n.role.Cloud == clouds[0] {
			home[n.role.Name] = true
		}
	}
	probe := drill.NewLedger() // not the drill's
	ctx, cancel := context.WithTimeout(s.ctx, 20*time.Second)
	defer cancel()
	for called := map[string]bool{}; len(called) < len(home); {
		if ctx.Err() != nil {
			return fmt.Errorf("not all endpoints are called before the fault: %v of %v", called, home)
		}
		drill.Open(ctx, probe, drill.Load{Rate: 50, Length: 200 * time.Millisecond, Do: s.do})
		for _, r := range probe.Requests(func(r *drill.Request) bool { return r.OK() }) {
			for _, a := range r.Sent {
				if home[a.Host] {
					called[a.Host] = true
				}
			}
		}
	}
	s.sets = s.watchSets()
	return s.awaitForbidden(ctx)
}

// do makes a request. Those of other ledgers than the stage's have no number.
func (s *stage) do(ctx context.Context, r *drill.Request) error {
	id := strconv.Itoa(r.ID)
	if r.Kind == "unary" {
		_, err := s.client.UnaryCall(metadata.AppendToOutgoingContext(ctx, idKey, id), &grpc_testing.SimpleRequest{})
		return err
	}
	_, err := s.client.EmptyCall(metadata.AppendToOutgoingContext(ctx, idKey, id), &grpc_testing.Empty{})
	return err
}

// load makes requests for a while, and beside them forbidden ones; one in every is one
// that may not be done twice.
func (s *stage) load(rate float64, length time.Duration, every int) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.intrude(length) })
	drill.Open(s.ctx, s.ledger, drill.Load{Rate: rate, Length: length, Do: s.do, Next: func(i int) (string, bool) {
		if i%every == 0 {
			return "once", false
		}
		return "unary", true
	}})
}

func (s *stage) safe(from, to time.Duration) []drill.Request {
	return s.ledger.Requests(func(r *drill.Request) bool { return r.Safe && r.Due >= from && r.Due < to })
}
