package mesh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/chain"
)

// A branch that fails is taken out over each transport, by the attempts that are
// seen, with an event; the calls go on to the baseline. The windows are so long that
// the speed of the machine is nothing to them.
func TestGuardTakesOut(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"unary", "stream", "http"} {
		for volume, meta := range map[string]string{
			"few calls": `"weft-guard-min-volume":"20",`, // before the breaker has an opinion
			"default":   ``,
			"many":      `"weft-guard-min-volume":"150",`,
		} {
			t.Run(protocol+" "+volume, func(t *testing.T) {
				t.Parallel()
				e := embedded(t)
				v1, v2 := &flaky{}, &flaky{bad: true}
				for version, f := range map[string]*flaky{"v1": v1, "v2": v2} {
					serveFlaky(t, e, protocol, "web", version, f)
				}
				log := &lines{}
				ent := newEntries(t, `{"Kind":"service-defaults","Name":"web","Protocol":"http","Meta":{"weft-guard-max-errors":"20",`+meta+`"weft-guard-window":"1h","weft-guard-hold":"24h"}}`,
					subsets, split("50", "50"))
				m := member(t, Config{Service: "caller", Embedded: e, Locality: resolver.Locality{Cloud: "aws"}, Chains: ent.source(), Logger: log.logger()})
				call := failingCalls(t, m)[protocol]
				failed := 0
				for end := bound(t); guardedShare(m, "v2.") != 0; {
					if call(bound(t)) != nil {
						failed++
					}
					if end.Err() != nil {
						t.Fatalf("v2 is still in after %d calls to v1 and %d to v2, %d of all failed; %v", v1.calls.Load(), v2.calls.Load(), failed, m.Routes()[0].Guard)
					}
				}
				if failed == 0 {
					t.Error("no call failed: v2 was not called")
				}
				if n := log.count("canary.taken_out", "service=web", "v2.web"); n != 1 {
					t.Errorf("canary.taken_out was said %d times", n)
				}
				before := v2.calls.Load()
				for range 100 {
					if err := call(bound(t)); err != nil {
						t.Fatal("after v2 was taken out:", err)
					}
				}
				if n := v2.calls.Load(); n != before {
					t.Errorf("v2 was called %d times after it was taken out", n-before)
				}
				if x, err := m.Explain("web", chain.Recorded{Path: "/"}); err != nil || !strings.Contains(x.String(), "guard") {
					t.Errorf("%v, %v", x, err)
				}
			})
		}
	}
}

// failingCalls are calls to web whose failure counts.
func failingCalls(t *testing.T, m *Mesh) map[string]func(context.Context) error {
	t.Helper()
	client := dial(t, m, "web")
	return map[string]func(context.Context) error{
		"unary": func(ctx context.Context) error {
			_, err := client.UnaryCall(ctx, &grpc_testing.SimpleRequest{})
			return err
		},
		"stream": func(ctx context.Context) error {
			s, err := client.FullDuplexCall(ctx)
			if err != nil {
				return err
			}
			if _, err = s.Recv(); errors.Is(err, io.EOF) {
				return nil
			}
			return err
		},
		"http": func(ctx context.Context) error {
			resp, err := m.HTTPClient().Get("http://web/")
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if resp.StatusCode != 200 {
				return errors.New(resp.Status)
			}
			return nil
		},
	}
}

// guardedShare is how much of its weight a branch gets.
func guardedShare(m *Mesh, target string) float64 {
	for _, r := range m.Routes() {
		for _, g := range r.Guard {
			if strings.HasPrefix(g.Target, target) {
				return g.Share
			}
		}
	}
	return -1
}

// The baseline may be the called service itself, and the branch another service.
func TestGuardBetweenServices(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"unary", "stream", "http"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			e := embedded(t)
			versions := map[string]*flaky{"web": {}, "admin": {bad: true}}
			for service, f := range versions {
				serveFlaky(t, e, protocol, service, "v1", f)
			}
			ent := newEntries(t, profiled("", `"weft-guard-max-errors":"20","weft-guard-min-volume":"20","weft-guard-window":"1h","weft-guard-hold":"24h"`), adminIsHTTP, splitServices("50", "50"))
			m := member(t, Config{Service: "caller", Embedded: e, Locality: resolver.Locality{Cloud: "aws"}, Chains: ent.source()})
			call := failingCalls(t, m)[protocol]
			for end := bound(t); guardedShare(m, "admin.") != 0; {
				_ = call(bound(t))
				if end.Err() != nil {
					t.Fatalf("admin is still in: %+v", m.Routes()[0].Guard)
				}
			}
			for range 50 {
				if err := call(bound(t)); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// A branch that comes back after its lane had ended is watched as before.
func TestGuardOfAReturnedLane(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"unary", "http"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			e := embedded(t)
			serveFlaky(t, e, protocol, "web", "v1", &flaky{})
			serveFlaky(t, e, protocol, "web", "v2", &flaky{bad: true})
			guard := profiled("", `"weft-guard-max-errors":"20","weft-guard-min-volume":"20","weft-guard-window":"1h","weft-guard-hold":"24h"`)
			ent := newEntries(t, profiled(""), subsets, split("50", "50"))
			m := member(t, Config{Service: "caller", Embedded: e, Locality: resolver.Locality{Cloud: "aws"}, Chains: ent.source()})
			call := failingCalls(t, m)[protocol]
			for range 10 {
				_ = call(bound(t))
			}
			for i := range laneRelics + 2 {
				before := m.Routes()[0].Chain
				ent.put(t, profiled(""), strings.ReplaceAll(subsets, "version == v1", fmt.Sprintf("version != x%d", i)))
				eventually(t, "the change is in effect", func() bool { return m.Routes()[0].Chain != before })
			}
			ent.put(t, guard, subsets, split("50", "50"))
			for end := bound(t); guardedShare(m, "v2.") != 0; {
				_ = call(bound(t))
				if end.Err() != nil {
					t.Fatalf("v2 is still in: %+v", m.Routes()[0].Guard)
				}
			}
		})
	}
}

// serveFlaky runs an instance of a service in cloud aws.
func serveFlaky(t *testing.T, e *Embedded, protocol, service, version string, f *flaky) {
	t.Helper()
	reg := watched{e.Catalog, make(chan struct{}), func() {}}
	server := member(t, Config{Service: service, InstanceID: version, Embedded: e, Locality: resolver.Locality{Cloud: "aws"},
		Registrar: reg, Propagation: -1, Metadata: map[string]string{"version": version}})
	f.serve(t, server, protocol)
	<-reg.registered
}
