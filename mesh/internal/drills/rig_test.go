package drills

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/internal/drill"
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resolver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	payments = "payments"
	web      = "web"
	unary    = "unary" // may be done twice
	once     = "once"  // may not
	get      = "get"
	post     = "post"
)

// setup is how a scene begins. The zero value is two endpoints in each of three
// clouds, a caller that is in none of them, and the default policy.
type setup struct {
	clouds      []string
	perCloud    int
	work        time.Duration // of one call; 0: 5 ms
	slots       int           // calls that an endpoint works on at a time; 0: any number
	home        string        // the caller's cloud
	policy      mesh.ServicePolicy
	balancing   balancer.Policy // nil: the default
	inbound     mesh.InboundPolicy
	serverLog   *slog.Logger
	callerLog   *slog.Logger  // in place of the scene's; nothing is checked of it then
	onlyOnce    bool          // half of the calls may not be done twice
	http        bool          // the service web, on the same hosts
	drain       time.Duration // of servers; 0: they are cut
	propagation time.Duration
	strangers   bool // an impostor among the endpoints, and a caller that is to be denied
}

// scene is a mesh, its network and its ledger.
type scene struct {
	t        *testing.T
	cfg      setup
	rnd      *rand.Rand // of the load
	net      *drill.Net
	ledger   *drill.Ledger
	embedded *mesh.Embedded
	nodes    []*node
	caller   *mesh.Mesh
	client   grpc_testing.TestServiceClient
	events   drill.Events // what the caller logs
	changes  drill.Events // what its policies tell

	mu      sync.Mutex
	names   map[string]string // of hosts, by address
	sizes   []int             // of the caller's snapshots
	closers []func()

	intruder     grpc_testing.TestServiceClient
	intrusions   *drill.Ledger
	impostorSeen atomic.Int64
}

// run plays a scene in virtual time and checks what holds in all of them.
func run(t *testing.T, cfg setup, play func(*scene)) {
	t.Helper()
	seed := seedOf(t)
	synctest.Test(t, func(t *testing.T) {
		s := &scene{t: t, cfg: cfg, rnd: rand.New(rand.NewPCG(seed, 2)), names: map[string]string{}}
		s.net = drill.NewNet(seed, func(from, to string) time.Duration {
			if cloudOf(from) == cloudOf(to) {
				return 500 * time.Microsecond
			}
			return 3 * time.Millisecond
		})
		s.open()
		play(s)
		s.close()
		if !t.Failed() {
			s.invariants()
		}
	})
}

// seedOf is WEFT_SEED, or one of its own.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if v := os.Getenv("WEFT_SEED"); v != "" {
		var err error
		if seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatalf("WEFT_SEED=%q is no number", v)
		}
	}
	t.Logf("WEFT_SEED=%d", seed)
	return seed
}

func cloudOf(host string) string {
	cloud, _, _ := strings.Cut(host, "-")
	return cloud
}

func (s *scene) onClose(f func()) { s.closers = append(s.closers, f) }

func (s *scene) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) open() {
	if s.cfg.clouds == nil {
		s.cfg.clouds = []string{"aws", "azure", "gcp"}
	}
	if s.cfg.perCloud == 0 {
		s.cfg.perCloud = 2
	}
	if s.cfg.work == 0 {
		s.cfg.work = 5 * time.Millisecond
	}
	var err error
	s.embedded, err = mesh.NewEmbedded(nil)
	s.must(err)
	s.ledger, s.intrusions = drill.NewLedger(), drill.NewLedger()
	for c, cloud := range s.cfg.clouds {
		for i := range s.cfg.perCloud {
			s.addNode(cloud+"-"+strconv.Itoa(i+1), byte(c), byte(i))
		}
	}
	if s.cfg.callerLog != nil {
		s.caller = s.join("caller", "home", s.cfg.home, s.cfg.policy, s.cfg.callerLog)
	} else {
		s.caller = s.join("caller", "home", s.cfg.home, s.callerPolicy(), slog.New(&s.events))
	}
	s.client = s.dial(s.caller, payments, s.ledger)
	if s.cfg.strangers {
		s.addStrangers()
	}
	s.watch()
	synctest.Wait() // all are announced
	s.connect()
}

// callerPolicy is the scene's, and counts what its parts tell.
func (s *scene) callerPolicy() mesh.ServicePolicy {
	p := s.cfg.policy
	p.Idempotent = []string{"/grpc.testing.TestService/UnaryCall"}
	s.changes.Tell(&p.Outlier, &p.Breaker, func(what string, args ...any) {
		s.t.Logf("%8v "+what, append([]any{s.ledger.Now().Round(time.Millisecond)}, args...)...)
	})
	return p
}

// join makes a member that lives on a host.
func (s *scene) join(service, host, cloud string, p mesh.ServicePolicy, log *slog.Logger) *mesh.Mesh {
	s.t.Helper()
	m, err := mesh.Join(context.Background(), mesh.Config{
		Service:        service,
		Locality:       resolver.Locality{Cloud: cloud},
		Embedded:       s.embedded,
		Policy:         p,
		Balancer:       balancer.Config{Policy: s.cfg.balancing},
		ConnectTimeout: 2 * time.Second,
		DialContext:    s.net.Dialer(host),
		Logger:         log,
	})
	s.must(err)
	s.onClose(func() {
		if err := m.Leave(context.Background()); err != nil {
			s.t.Errorf("Leave of %s: %v", service, err)
		}
	})
	return m
}

// dial connects a member to a gRPC service, with attempts noted in the ledger.
func (s *scene) dial(m *mesh.Mesh, service string, l *drill.Ledger) grpc_testing.TestServiceClient {
	s.t.Helper()
	conn, err := m.Dial(service, grpc.WithStatsHandler(drill.Sends{Name: s.name}))
	s.must(err)
	s.onClose(func() { _ = conn.Close() })
	conn.Connect()
	return grpc_testing.NewTestServiceClient(conn)
}

func (s *scene) name(addr net.Addr) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.names[addr.String()]; n != "" {
		return n
	}
	return addr.String()
}

// watch keeps the sizes of the caller's endpoint sets.
func (s *scene) watch() {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		_ = s.embedded.Catalog.Watch(ctx, payments, func(sn *resolver.Snapshot) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.sizes = append(s.sizes, len(sn.Endpoints))
		})
	})
	s.onClose(func() { cancel(); done.Wait() })
}

func (s *scene) close() {
	for i := len(s.closers) - 1; i >= 0; i-- {
		s.closers[i]()
	}
	time.Sleep(5 * time.Second) // I7 allows as much
	synctest.Wait()
}

// invariants checks what holds in all drills. That no goroutine is left, the
// bubble checks itself.
func (s *scene) invariants() {
	s.t.Helper()
	reqs := s.ledger.Requests(nil)
	genuine := map[string]bool{}
	for _, n := range s.nodes {
		genuine[n.name] = true
	}
	s.mu.Lock()
	sizes := s.sizes
	s.mu.Unlock()
	for _, err := range []error{
		drill.CheckEnds(reqs, 50*time.Millisecond),
		drill.CheckAttempts(reqs, 1.2, 10, 10*time.Second),
		drill.CheckPeers(reqs, func(h string) bool { return genuine[h] }, s.impostorSeen.Load()),
		drill.CheckDenied(s.intrusions.Requests(nil)),
		drill.CheckSets(sizes),
		drill.CheckOnce(reqs),
		drill.CheckReturned("open ends of connections", 0, s.net.Open(), 0),
		drill.CheckEvents(s.changes.Counts(), s.events.Changes()),
	} {
		if err != nil {
			s.t.Error(err)
		}
	}
}
