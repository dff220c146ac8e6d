package mesh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/weft-mesh/weft/balancer"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/chain"
)

const adminIsHTTP = `{"Kind":"service-defaults","Name":"admin","Protocol":"http"}`

// splitServices splits web between itself and another service.
func splitServices(web, admin string) string {
	return `{"Kind":"service-splitter","Name":"web","Splits":[{"Weight":` + web + `},{"Weight":` + admin + `,"Service":"admin"}]}`
}

// impatient are the three ways to call, without WaitForReady: what cannot be sent
// fails.
func impatient(t *testing.T, m *Mesh, service string) map[string]func(context.Context) (string, error) {
	t.Helper()
	client := dial(t, m, service)
	return map[string]func(context.Context) (string, error){
		"unary": func(ctx context.Context) (string, error) {
			r, err := client.UnaryCall(ctx, &grpc_testing.SimpleRequest{})
			return r.GetUsername(), err
		},
		"stream": func(ctx context.Context) (string, error) {
			s, err := client.FullDuplexCall(ctx)
			if err != nil {
				return "", err
			}
			r, err := s.Recv()
			if err != nil {
				return "", err
			}
			if _, err := s.Recv(); !errors.Is(err, io.EOF) {
				return "", err
			}
			return string(r.GetPayload().GetBody()), nil
		},
		"http": func(ctx context.Context) (string, error) { return get(ctx, m, "http://"+service+"/") },
	}
}

// A split between services keeps them apart, though one of the branches is the
// called service as it is without a chain.
func TestSplitBetweenServices(t *testing.T) {
	t.Parallel()
	e := embedded(t)
	start(t, e, nil, "web/v1@aws", "admin/v1@aws")
	for _, w := range [][3]string{{"100", "0", "web/v1@aws"}, {"0", "100", "admin/v1@aws"}} {
		ent := newEntries(t, webIsHTTP, adminIsHTTP, splitServices(w[0], w[1]))
		m := member(t, Config{Service: "caller", Embedded: e, Locality: resolver.Locality{Cloud: "aws"}, Chains: ent.source()})
		for name, call := range transports(t, m, "web") {
			for range 20 {
				if r, err := call(bound(t), "/"); err != nil || r.name != w[2] {
					t.Fatalf("%s at %s to %s: %v, %v", name, w[0], w[1], r.name, err)
				}
			}
		}
	}
}

// Changes as fast as they can be written, to subsets and services that were not
// known before, cost no call, waiting or not.
func TestChangesCostNoCall(t *testing.T) {
	t.Parallel()
	e := embedded(t)
	start(t, e, nil, "web/v1@aws", "web/v2@aws", "admin/v1@aws")
	states := [][]string{
		{subsets, split("100", "0")},
		{splitServices("0", "100")},
		{subsets, split("0", "100")},
		{},
		{splitServices("50", "50")},
		{`{"Kind":"service-resolver","Name":"web","Redirect":{"Service":"admin"}}`},
		{subsets, split("50", "50"), `{"Kind":"service-router","Name":"web","Routes":[{"Match":{"HTTP":{"PathPrefix":"/"}},"Destination":{"Service":"admin"}}]}`},
	}
	put := func(ent *entries, i int) {
		ent.put(t, append([]string{webIsHTTP, adminIsHTTP}, states[i%len(states)]...)...)
	}
	ent := newEntries(t, webIsHTTP, adminIsHTTP)
	m := member(t, Config{Service: "caller", Embedded: e, Locality: resolver.Locality{Cloud: "aws"}, Chains: ent.source()})
	var wg sync.WaitGroup
	var done [3]atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	i := 0
	for name, call := range impatient(t, m, "web") {
		if _, err := call(bound(t)); err != nil {
			t.Fatal(name, err)
		}
		n := &done[i]
		i++
		for range 2 {
			wg.Go(func() {
				for ctx.Err() == nil {
					if who, err := call(bound(t)); err != nil || who == "" {
						t.Errorf("%s: %q, %v", name, who, err)
						return
					}
					n.Add(1)
				}
			})
		}
	}
	for round := range 60 {
		put(ent, round)
		if round%5 == 0 { // now and then the calls catch up
			for k := range done {
				for from, end := done[k].Load(), bound(t); done[k].Load() < from+3 && end.Err() == nil && !t.Failed(); {
				}
			}
		}
	}
	cancel()
	wg.Wait()
}

// What is not done is in the status as long as it is not done, and logged once.
func TestProblemsStay(t *testing.T) {
	t.Parallel()
	e := embedded(t)
	start(t, e, nil, "web/v1@aws")
	log := &lines{}
	nowhere := `{"Kind":"service-resolver","Name":"web","Failover":{"*":{"Targets":[{"Peer":"acme"}]}},"ConnectTimeout":"%s"}`
	ent := newEntries(t, webIsHTTP, fmt.Sprintf(nowhere, "1s"))
	m := member(t, Config{Service: "caller", Embedded: e, Locality: resolver.Locality{Cloud: "aws"}, Chains: ent.source(), Logger: log.logger()})
	m.cfg.catalog = "consul" // where a peer must be among the clouds
	if _, err := get(bound(t), m, "http://web/"); err != nil {
		t.Fatal(err)
	}
	before := m.Routes()[0]
	if len(before.Problems) == 0 {
		t.Fatal("nobody says that no cloud is peer acme")
	}
	for i := range 3 {
		ent.put(t, webIsHTTP, fmt.Sprintf(nowhere, fmt.Sprintf("%ds", i+2)))
		for end := bound(t); m.Routes()[0].Chain == before.Chain && end.Err() == nil; {
		}
		after := m.Routes()[0]
		if len(after.Problems) != len(before.Problems) {
			t.Errorf("change %d: %d problems became %d: %v", i, len(before.Problems), len(after.Problems), after.Problems)
		}
		before = after
	}
	if n := log.count("config.unsupported"); n != len(before.Problems) {
		t.Errorf("%d problems were logged %d times", len(before.Problems), n)
	}
}

// A chain of another service is nobody's.
func TestChainOfAnotherService(t *testing.T) {
	t.Parallel()
	e := embedded(t)
	start(t, e, nil, "web/v1@aws", "admin/v1@aws")
	m := member(t, Config{Service: "caller", Embedded: e, Locality: resolver.Locality{Cloud: "aws"}, Chains: wrongChain{}})
	if who, err := get(bound(t), m, "http://web/"); err != nil || who != "web/v1@aws" {
		t.Errorf("%s, %v", who, err)
	}
	if s := m.Routes()[0]; s.Err == nil || !strings.Contains(s.Err.Error(), `"admin"`) {
		t.Errorf("status %+v", s)
	}
}

type wrongChain struct{}

func (wrongChain) WatchChain(ctx context.Context, _ string, deliver func(chain.Update)) error {
	deliver(chain.Update{Chain: chain.Single("admin", "aws")})
	<-ctx.Done()
	return ctx.Err()
}

// Leave does not wait for a copy that nobody answers.
func TestLeaveEndsCopies(t *testing.T) {
	t.Parallel()
	e := embedded(t)
	start(t, e, nil, "web/v1@aws")
	entered := make(chan struct{})
	reg := watched{e.Catalog, make(chan struct{}), func() {}}
	sm := member(t, Config{Service: "shadow", Locality: resolver.Locality{Cloud: "aws"}, Embedded: e, Registrar: reg, Propagation: -1})
	serve(t, sm, httpServerOf(t, sm, func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
	}))
	<-reg.registered
	ent := newEntries(t, `{"Kind":"service-defaults","Name":"web","Protocol":"http","Meta":{"weft-mirror":"shadow","weft-mirror-percent":"100"}}`)
	m := member(t, Config{Service: "caller", Embedded: e, Locality: resolver.Locality{Cloud: "aws"}, Chains: ent.source()})
	if _, err := get(bound(t), m, "http://web/"); err != nil {
		t.Fatal(err)
	}
	<-entered
	began := time.Now()
	if err := m.Leave(bound(t)); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took >= mirrorTimeout/2 {
		t.Errorf("Leave took %v: it waits for a copy", took)
	}
}

// lines is a log that a test counts.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// with are the lines that have all of the words.
func (l *lines) with(words ...string) (all []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			all = append(all, line)
		}
	}
	return all
}

func (l *lines) count(words ...string) int { return len(l.with(words...)) }

// Services beyond those with state of their own are called, without chains.
func TestManyServicesWithChains(t *testing.T) {
	t.Parallel()
	e := embedded(t)
	start(t, e, nil, "web/v1@aws")
	m := member(t, Config{Service: "caller", Embedded: e, Locality: resolver.Locality{Cloud: "aws"}, Chains: newEntries(t, webIsHTTP).source()})
	for i := range maxDestinations {
		m.to.of(fmt.Sprintf("service-%d", i))
	}
	for name, call := range impatient(t, m, "web") {
		if who, err := call(bound(t)); err != nil || who != "web/v1@aws" {
			t.Errorf("%s: %s, %v", name, who, err)
		}
	}
}

// The caller's own ranks hold within the targets of a chain.
func TestOwnRank(t *testing.T) {
	t.Parallel()
	e := embedded(t)
	start(t, e, nil, "web/v1@aws", "web/v1@gcp", "web/v1@oci")
	own := func(ep *resolver.Endpoint) int {
		return map[string]int{"aws": -1, "gcp": 1, "oci": 0}[ep.Locality.Cloud]
	}
	for _, hcl := range [][]string{{webIsHTTP}, {webIsHTTP, subsets}} {
		m := member(t, Config{Service: "caller", Embedded: e, Locality: resolver.Locality{Cloud: "aws"}, Chains: newEntries(t, hcl...).source(), Balancer: balancer.Config{Rank: own}})
		for name, call := range transports(t, m, "web") {
			await(t, name, func() (string, error) { r, err := call(bound(t), "/"); return r.name, err }, "web/v1@oci")
			if r, err := call(bound(t), "/"); err != nil || r.name != "web/v1@oci" {
				t.Errorf("%s: %v, %v", name, r.name, err)
			}
		}
	}
}

// answers is a catalog that knows a service as soon as somebody says so.
type answers map[string]chan *resolver.Snapshot

func (a answers) Watch(ctx context.Context, service string, deliver func(*resolver.Snapshot)) error {
	for {
		select {
		case s := <-a[service]:
			deliver(s)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// A service that a changed chain names is waited for, however long the others are
// known, so that no call finds it empty; but not for ever.
func TestUnionWaitsForEach(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cat := answers{"web": make(chan *resolver.Snapshot), "admin": make(chan *resolver.Snapshot), "gone": make(chan *resolver.Snapshot)}
		u := union{catalog: cat, service: "web", parts: map[string]*part{}, dirty: make(chan struct{}, 1)}
		defer u.close()
		u.follow(t.Context(), []string{"web"})
		cat["web"] <- &resolver.Snapshot{Service: "web", State: resolver.Known}
		synctest.Wait()
		if s := u.snapshot(); s == nil || s.Service != "web" {
			t.Fatalf("%+v", s)
		}
		time.Sleep(time.Hour)
		u.follow(t.Context(), []string{"web", "admin"})
		if s := u.snapshot(); s != nil {
			t.Errorf("%+v while admin is not known", s)
		}
		cat["admin"] <- &resolver.Snapshot{Service: "admin", State: resolver.Known, Endpoints: []*resolver.Endpoint{{Service: "admin"}}}
		synctest.Wait()
		if s := u.snapshot(); s == nil || len(s.Endpoints) != 1 {
			t.Errorf("%+v", s)
		}
		u.follow(t.Context(), []string{"web", "admin", "gone"})
		if s := u.snapshot(); s != nil {
			t.Errorf("%+v while gone is not known", s)
		}
		time.Sleep(unionPatience)
		if s := u.snapshot(); s == nil || len(s.Endpoints) != 1 {
			t.Errorf("%+v after the patience", s)
		}
	})
}

// Lanes outlive their table for a while and no longer, and so do the services that
// are watched for them.
func TestLanesLinger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		table := func(old *routes, names ...string) *routes {
			next := &routes{states: map[string]*laneState{}}
			for _, n := range names {
				s := &laneState{key: n, lane: balancer.Lane{Name: n}}
				if old != nil && old.states[n] != nil {
					s = old.states[n]
				}
				next.add(s)
			}
			next.own = len(names)
			next.inherit(old, now)
			return next
		}
		names := func(r *routes) (all []string) {
			for _, l := range r.lanes {
				all = append(all, l.Name)
			}
			return all
		}
		a := table(nil, "a")
		b := table(a, "b")
		now = now.Add(time.Hour)
		c := table(b, "c")
		if got := names(c); !slices.Equal(got, []string{"c", "b"}) {
			t.Errorf("an hour later: %q", got)
		}
		d := table(c, "d")
		if got := names(d); !slices.Equal(got, []string{"d", "c", "b"}) {
			t.Errorf("at once: %q", got)
		}
		for i := range 100 {
			d = table(d, fmt.Sprint(i))
		}
		if len(d.lanes) > 1+laneRelics {
			t.Errorf("%d lanes", len(d.lanes))
		}
	})
}
