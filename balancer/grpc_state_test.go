package balancer

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/attributes"
	grpcresolver "google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"

	"github.com/weft-mesh/weft/resolver"
)

// snapshots is a catalog that delivers one after the other.
type snapshots []resolver.Snapshot

func (s snapshots) Watch(ctx context.Context, _ string, deliver func(*resolver.Snapshot)) error {
	for i := range s {
		deliver(&s[i])
	}
	<-ctx.Done()
	return ctx.Err()
}

// stateFunc is a resolver's client that only takes states.
type stateFunc func(grpcresolver.State)

func (f stateFunc) UpdateState(s grpcresolver.State) error               { f(s); return nil }
func (f stateFunc) ReportError(error)                                    {}
func (f stateFunc) NewAddress([]grpcresolver.Address)                    {}
func (f stateFunc) ParseServiceConfig(string) *serviceconfig.ParseResult { return nil }
func target(s string) grpcresolver.Target {
	u, err := url.Parse(s)
	if err != nil {
		panic(err)
	}
	return grpcresolver.Target{URL: *u}
}

func checkError(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("unexpected error: %v", err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("error is %v, want one with %q", err, want)
	}
}

func TestReadStateOfStockResolvers(t *testing.T) {
	t.Parallel()
	addr := func(a, attr string) grpcresolver.Address {
		return grpcresolver.Address{Addr: a, Attributes: attributes.New("k", attr)}
	}
	for _, tt := range []struct {
		name string
		in   grpcresolver.State
		want map[string]string // address: its attribute
	}{
		{"endpoints", grpcresolver.State{Endpoints: []grpcresolver.Endpoint{
			{Addresses: []grpcresolver.Address{addr("b:1", "B"), addr("c:1", "C")}}, {}, {Addresses: []grpcresolver.Address{addr("a:1", "A")}},
		}}, map[string]string{"a:1": "A", "b:1": "B"}},
		{"addresses", grpcresolver.State{Addresses: []grpcresolver.Address{addr("b:1", "B"), addr("a:1", "A")}}, map[string]string{"a:1": "A", "b:1": "B"}},
		{"twice the same", grpcresolver.State{Addresses: []grpcresolver.Address{addr("a:1", "A"), addr("a:1", "X")}}, map[string]string{"a:1": "A"}},
	} {
		in, err := readState(tt.in)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if len(in.snapshot.Endpoints) != len(tt.want) {
			t.Errorf("%s: %d endpoints, want %d", tt.name, len(in.snapshot.Endpoints), len(tt.want))
		}
		hint := 0
		for _, ep := range slices.Concat(in.snapshot.Endpoints, in.snapshot.Endpoints) { // with and without a good hint
			a := in.address(ep, &hint)
			if want := tt.want[ep.Addr]; a.Addr != ep.Addr || a.Attributes.Value("k") != want {
				t.Errorf("%s: address of %s is %v, want attribute %s", tt.name, ep.Addr, a, want)
			}
		}
	}
	if _, err := readState(grpcresolver.State{Endpoints: []grpcresolver.Endpoint{{}}}); err == nil {
		t.Error("a state without any address is accepted")
	}
}

func TestParseConfig(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, in, wantErr string }{
		{"empty", `{}`, ""},
		{"all", `{"policy":"round_robin","local":{"cloud":"aws","region":"eu-west-1","zone":"a"},"cloudOrder":["gcp"],"subsetSize":4,"subsetKey":"k",
			"warmConns":1,"overprovision":1.5,"panicBelow":0.4,"failbackAfter":"5s","slowStart":"1m"}`, ""},
		{"unknown field", `{"polizy":"round_robin"}`, "polizy"},
		{"unknown policy", `{"policy":"best"}`, `"best"`},
		{"wrong type", `{"subsetSize":"many"}`, "subsetSize"},
		{"number for a duration", `{"slowStart":5}`, "duration"},
		{"not a duration", `{"slowStart":"soon"}`, "soon"},
		{"two objects", `{}{}`, "after the object"},
		{"no object", `[]`, "jsonConfig"},
		{"huge", `{"subsetKey":"` + string(make([]byte, maxConfig)) + `"}`, "bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := builder{}.ParseConfig([]byte(tt.in))
			checkError(t, err, tt.wantErr)
		})
	}
}

func FuzzParseConfig(f *testing.F) {
	for _, s := range []string{`{}`, `{"policy":"peak_ewma","subsetSize":16}`, `{"slowStart":"1s","local":null}`, `{"overprovision":1e999}`, `[`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if cfg, err := parseConfig(in); err == nil {
			if _, err := New(cfg, Connector{Connect: func(*Node) Conn { return noConn{} }}); err != nil {
				t.Errorf("an accepted config is refused later: %v", err)
			}
		}
	})
}
