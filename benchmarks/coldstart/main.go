// Coldstart measures, on a real Consul on loopback, how long a new member takes from
// mesh.Join to its first answer, when the service has one endpoint and when it has
// hundreds: identity, catalog, connection and handshake included.
//
//	go run ./coldstart [-endpoints 1,500] [-starts 20]
//
// Beside it, grpc-go's round_robin with the same identity and addresses, which
// connects to all of them at once, from grpc.NewClient: it has neither identity nor
// catalog to ask for. The servers are in this process, so that their handshakes take
// the same processors. The last line is JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"
	grpcresolver "google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/weft-mesh/weft/benchmarks/internal/fleet"
	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/security"
	"github.com/weft-mesh/weft/security/consulca"
)

func main() {
	endpoints := flag.String("endpoints", "1,500", "numbers of endpoints; the last one is reported")
	starts := flag.Int("starts", 20, "starts of each kind")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *endpoints, *starts); err != nil {
		fmt.Fprintln(os.Stderr, "coldstart:", err)
		os.Exit(1)
	}
}

// result is the last line; medians.
type result struct {
	Bench     string  `json:"bench"`
	Endpoints int     `json:"endpoints"`
	FirstOK   float64 `json:"first_ok_ms"`
	P99       float64 `json:"first_ok_p99_ms"`
	RR        float64 `json:"round_robin_ms"`
	One       float64 `json:"one_endpoint_ms,omitempty"`
}

func run(ctx context.Context, list string, starts int) error {
	counts, err := parse(list)
	if err == nil && starts < 1 {
		err = fmt.Errorf("-starts is %d, want 1 or more", starts)
	}
	if err != nil {
		return err
	}
	agent, err := consultest.Start(ctx, consultest.Config{Progress: os.Stderr})
	if err != nil {
		return err
	}
	defer agent.Stop()
	fmt.Printf("Consul %s on loopback, mutual TLS by its CA, %s, %d cores; %d starts; times in ms\n", consultest.Version, runtime.Version(), runtime.NumCPU(), starts)
	r := result{Bench: "coldstart"}
	for _, n := range counts {
		weft, bare, err := starting(ctx, agent, n, starts)
		if err != nil {
			return err
		}
		fmt.Printf("endpoints %4d: first answer p50 %6.1f p99 %6.1f   round_robin, without identity and catalog, p50 %6.1f p99 %6.1f\n",
			n, ms(weft, 50), ms(weft, 99), ms(bare, 50), ms(bare, 99))
		r.Endpoints, r.FirstOK, r.P99, r.RR = n, ms(weft, 50), ms(weft, 99), ms(bare, 50)
		if n == 1 {
			r.One = r.FirstOK
		}
	}
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	return nil
}

func parse(list string) (counts []int, err error) {
	for _, field := range strings.Split(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(field))
		if err != nil || n < 1 || n > 5000 {
			return nil, fmt.Errorf("-endpoints: %q is not a number from 1 to 5000", field)
		}
		counts = append(counts, n)
	}
	return counts, nil
}

// starting measures both kinds in turns.
func starting(ctx context.Context, agent *consultest.Agent, endpoints, starts int) (weft, bare []time.Duration, err error) {
	service := fmt.Sprintf("cold-%d", endpoints)
	f, err := fleet.New(ctx, agent, service, nil)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var addrs []string
	for i := range endpoints {
		name := fmt.Sprintf("i%d", i)
		port, err := f.Serve(ctx, name)
		if err == nil {
			err = f.Register(name, port, 1)
		}
		if err != nil {
			return nil, nil, err
		}
		addrs = append(addrs, fmt.Sprintf("127.0.0.1:%d", port))
	}
	id, err := consulca.New(ctx, consulca.Config{Service: "starter", Client: agent.Client()})
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, id.Close()) }()
	expect, err := expected(id, agent.Datacenter, service)
	if err != nil {
		return nil, nil, err
	}
	for i := range starts + 1 {
		w, err := startWeft(ctx, agent, service)
		if err != nil {
			return nil, nil, err
		}
		b, err := startBare(ctx, id, expect, addrs)
		if err != nil {
			return nil, nil, err
		}
		if i > 0 { // the agent has issued the certificate by then
			weft, bare = append(weft, w), append(bare, b)
		}
	}
	return weft, bare, nil
}

// expected is the identity of a service's instances.
func expected(id *consulca.Source, datacenter, service string) (string, error) {
	svid, err := id.GetX509SVID()
	if err != nil {
		return "", err
	}
	of, err := security.ServiceID{TrustDomain: svid.ID.TrustDomain().Name(), Datacenter: datacenter, Service: service}.ID()
	return of.String(), err
}

func startWeft(ctx context.Context, agent *consultest.Agent, service string) (took time.Duration, err error) {
	began := time.Now()
	cfg := fleet.Member(agent, "starter")
	cfg.Balancer.Policy, cfg.Balancer.SlowStart = nil, 0 // the defaults
	m, err := mesh.Join(ctx, cfg)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, m.Leave(context.Background())) }()
	conn, err := m.Dial(service)
	if err != nil {
		return 0, err
	}
	_, err = grpc_testing.NewTestServiceClient(conn).UnaryCall(ctx, &grpc_testing.SimpleRequest{})
	return time.Since(began), err
}

func startBare(ctx context.Context, id *consulca.Source, expect string, addrs []string) (took time.Duration, err error) {
	var st grpcresolver.State
	for _, addr := range addrs {
		a := grpcresolver.Address{Addr: addr, Attributes: resolver.WithExpectedSPIFFEID(nil, expect)}
		st.Endpoints = append(st.Endpoints, grpcresolver.Endpoint{Addresses: []grpcresolver.Address{a}})
	}
	r := manual.NewBuilderWithScheme("bare")
	r.InitialState(st)
	began := time.Now()
	conn, err := grpc.NewClient("bare:///cold", grpc.WithResolvers(r),
		grpc.WithTransportCredentials(security.ClientCredentials(id, resolver.ExpectedSPIFFEID)),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	_, err = grpc_testing.NewTestServiceClient(conn).UnaryCall(ctx, &grpc_testing.SimpleRequest{}, grpc.WaitForReady(true))
	return time.Since(began), err
}

// ms is a percentile in milliseconds, to a hundredth.
func ms(d []time.Duration, percent int) float64 {
	d = slices.Sorted(slices.Values(d))
	return float64(d[(len(d)-1)*percent/100].Microseconds()/10) / 100
}
