package mesh

import (
	"context"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/chain"
)

// entries is a set of config entries that a test changes.
type entries struct {
	mu      sync.Mutex
	set     *chain.EntrySet
	changed chan struct{}
}

func newEntries(t *testing.T, json ...string) *entries {
	t.Helper()
	e := &entries{changed: make(chan struct{})}
	e.put(t, json...)
	return e
}

// put replaces the set.
func (e *entries) put(t *testing.T, json ...string) {
	t.Helper()
	var list []chain.Entry
	for _, text := range json {
		some, _, err := chain.DecodeEntries([]byte(text), chain.JSON)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, some...)
	}
	set, err := chain.NewEntrySet(list...)
	if err != nil {
		t.Fatal(err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.set = set
	close(e.changed)
	e.changed = make(chan struct{})
}

func (e *entries) watch(ctx context.Context, deliver func(*chain.EntrySet)) error {
	for {
		e.mu.Lock()
		set, changed := e.set, e.changed
		e.mu.Unlock()
		deliver(set)
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (e *entries) source() chain.Source {
	return chain.Compiled{Watch: e.watch, Config: chain.CompileConfig{Datacenter: "aws"}}
}

// named answers with its name and what it was sent.
type named struct {
	grpc_testing.UnimplementedTestServiceServer
	name  string
	calls chan string // what was sent; nil: nobody asks
}

func (n *named) note(method string, header func(string) string) {
	if n.calls != nil {
		n.calls <- strings.Join([]string{method, header("x-set"), header("x-gone"), header("weft-mirror")}, "|")
	}
}

func (n *named) UnaryCall(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	method, _ := grpc.Method(ctx)
	n.note(method, func(k string) string {
		return strings.Join(metadata.ValueFromIncomingContext(ctx, k), ",")
	})
	_ = grpc.SetHeader(ctx, metadata.Pairs("x-from", "server"))
	return &grpc_testing.SimpleResponse{Username: n.name}, nil
}

func (n *named) FullDuplexCall(s grpc.BidiStreamingServer[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse]) error {
	ctx := s.Context()
	n.note("stream", func(k string) string { return strings.Join(metadata.ValueFromIncomingContext(ctx, k), ",") })
	_ = s.SetHeader(metadata.Pairs("x-from", "server"))
	return s.Send(&grpc_testing.StreamingOutputCallResponse{Payload: &grpc_testing.Payload{Body: []byte(n.name)}})
}

func (n *named) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.note(r.URL.Path, r.Header.Get)
	w.Header().Set("X-From", "server")
	_, _ = io.WriteString(w, n.name)
}

// start runs instances of services over gRPC and HTTP; each is "service/version@cloud".
func start(t *testing.T, e *Embedded, calls chan string, names ...string) {
	t.Helper()
	for _, full := range names {
		name, cloud, _ := strings.Cut(full, "@")
		service, version, _ := strings.Cut(name, "/")
		n := &named{name: full, calls: calls}
		for _, protocol := range []string{"grpc", "http"} {
			reg := watched{e.Catalog, make(chan struct{}), func() {}}
			m := member(t, Config{
				Service: service, InstanceID: full + protocol, Locality: resolver.Locality{Cloud: cloud}, Embedded: e, Registrar: reg,
				Propagation: -1, Metadata: map[string]string{"version": version},
			})
			var srv any
			if protocol == "grpc" {
				g := m.NewGRPCServer()
				grpc_testing.RegisterTestServiceServer(g, n)
				srv = g
			} else {
				srv = httpServerOf(t, m, n.ServeHTTP)
			}
			serve(t, m, srv)
			<-reg.registered
		}
	}
}

// reply is what a call came to, over any transport.
type reply struct {
	name   string
	header func(string) string
}

// transports are the three ways to call a service.
func transports(t *testing.T, m *Mesh, service string) map[string]func(ctx context.Context, path string) (reply, error) {
	t.Helper()
	conn, err := m.Dial(service)
	if err != nil {
		t.Fatal(err)
	}
	client := grpc_testing.NewTestServiceClient(conn)
	first := func(md metadata.MD) func(string) string {
		return func(k string) string { return strings.Join(md.Get(k), ",") }
	}
	return map[string]func(ctx context.Context, path string) (reply, error){
		"unary": func(ctx context.Context, _ string) (reply, error) {
			var md metadata.MD
			r, err := client.UnaryCall(ctx, &grpc_testing.SimpleRequest{}, grpc.WaitForReady(true), grpc.Header(&md))
			return reply{r.GetUsername(), first(md)}, err
		},
		"stream": func(ctx context.Context, _ string) (reply, error) {
			s, err := client.FullDuplexCall(ctx, grpc.WaitForReady(true))
			if err != nil {
				return reply{}, err
			}
			r, err := s.Recv()
			if err != nil {
				return reply{}, err
			}
			md, _ := s.Header()
			_, err = s.Recv()
			if !errors.Is(err, io.EOF) {
				return reply{}, err
			}
			return reply{string(r.GetPayload().GetBody()), first(md)}, nil
		},
		"http": func(ctx context.Context, path string) (reply, error) {
			req, err := http.NewRequestWithContext(ctx, "GET", "http://"+service+path, nil)
			if err != nil {
				return reply{}, err
			}
			if md, ok := metadata.FromOutgoingContext(ctx); ok {
				for k, v := range md {
					req.Header[http.CanonicalHeaderKey(k)] = v
				}
			}
			resp, err := m.HTTPClient().Do(req)
			if err != nil {
				return reply{}, err
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			if resp.StatusCode != 200 {
				err = errors.New(resp.Status)
			}
			return reply{string(b), resp.Header.Get}, err
		},
	}
}

const (
	webIsHTTP = `{"Kind":"service-defaults","Name":"web","Protocol":"http"}`
	subsets   = `{"Kind":"service-resolver","Name":"web","DefaultSubset":"v1","Subsets":{
		"v1":{"Filter":"Service.Meta.version == v1"},"v2":{"Filter":"Service.Meta.version == v2"}}}`
)

func split(v1, v2 string) string {
	return `{"Kind":"service-splitter","Name":"web","Splits":[{"Weight":` + v1 + `,"ServiceSubset":"v1"},{"Weight":` + v2 + `,"ServiceSubset":"v2"}]}`
}

// Routers, splitters and resolvers decide over all transports alike, and a change is
// in effect for the next call.
func TestRoutes(t *testing.T) {
	t.Parallel()
	e := embedded(t)
	start(t, e, nil, "web/v1@aws", "web/v2@aws", "admin/v1@aws")
	ent := newEntries(t, webIsHTTP, `{"Kind":"service-defaults","Name":"admin","Protocol":"http"}`, subsets, split("100", "0"))
	m := member(t, Config{Service: "caller", Embedded: e, Locality: resolver.Locality{Cloud: "aws"}, Chains: ent.source()})
	calls := transports(t, m, "web")
	for name, call := range calls {
		for range 20 {
			if r, err := call(bound(t), "/"); err != nil || r.name != "web/v1@aws" {
				t.Fatalf("%s: %v, %v; a branch of weight 0 must get nothing", name, r.name, err)
			}
		}
	}
	admin := `{"Kind":"service-router","Name":"web","Routes":[
		{"Match":{"HTTP":{"Header":[{"Name":"x-role","Exact":"admin"}]}},"Destination":{"Service":"admin"}}]}`
	ent.put(t, webIsHTTP, `{"Kind":"service-defaults","Name":"admin","Protocol":"http"}`, subsets, split("0", "100"), admin)
	for name, call := range calls {
		await(t, name+" after the change", func() (string, error) { r, err := call(bound(t), "/"); return r.name, err }, "web/v2@aws")
		for range 20 {
			if r, err := call(bound(t), "/"); err != nil || r.name != "web/v2@aws" {
				t.Fatalf("%s: %v, %v", name, r.name, err)
			}
			ctx := metadata.AppendToOutgoingContext(bound(t), "x-role", "user", "x-role", "admin")
			if r, err := call(ctx, "/"); err != nil || r.name != "admin/v1@aws" {
				t.Fatalf("%s with a header: %v, %v", name, r.name, err)
			}
		}
	}
}

// await calls until it gets what it wants: a change takes effect for calls that begin
// after it was heard of.
func await(t *testing.T, what string, call func() (string, error), want string) {
	t.Helper()
	for ctx := bound(t); ; {
		got, err := call()
		if err != nil {
			t.Fatalf("%s: %v: a change must not cost a call", what, err)
		}
		if got == want {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("%s: still %q, want %q", what, got, want)
		}
	}
}

// A key keeps its branch, whatever the transport, and the share of users is the share
// of the split.
func TestStickySplit(t *testing.T) {
	t.Parallel()
	e := embedded(t)
	start(t, e, nil, "web/v1@aws", "web/v2@aws")
	ent := newEntries(t, webIsHTTP, subsets, split("70", "30"))
	m := member(t, Config{Service: "caller", Embedded: e, Locality: resolver.Locality{Cloud: "aws"}, Chains: ent.source()})
	calls := transports(t, m, "web")
	second := 0
	for i := range 200 {
		ctx := WithHashKey(bound(t), "user-"+string(rune('a'+i%26))+string(rune('a'+i/26)))
		want := ""
		for name, call := range calls {
			r, err := call(ctx, "/")
			if err != nil {
				t.Fatal(err)
			}
			if want == "" {
				want = r.name
			}
			if r.name != want {
				t.Fatalf("%s: user %d goes to %s, and to %s elsewhere", name, i, r.name, want)
			}
		}
		if want == "web/v2@aws" {
			second++
		}
	}
	if second < 30 || second > 90 {
		t.Errorf("%d of 200 users are on the branch of 30 %%", second)
	}
}

// Header edits, prefix rewrite and a redirect.
func TestActions(t *testing.T) {
	t.Parallel()
	e := embedded(t)
	seen := make(chan string, 10)
	start(t, e, seen, "web/v1@aws")
	ent := newEntries(t, webIsHTTP, `{"Kind":"service-defaults","Name":"old","Protocol":"http"}`,
		`{"Kind":"service-resolver","Name":"old","Redirect":{"Service":"web"}}`,
		`{"Kind":"service-router","Name":"old","Routes":[{"Match":{"HTTP":{"PathPrefix":"/"}},"Destination":{"Service":"web","PrefixRewrite":"/",
		"RequestHeaders":{"Set":{"x-set":"a"},"Remove":["x-gone"]},"ResponseHeaders":{"Set":{"x-from":"route"},"Add":{"x-more":"b"}}}}]}`)
	m := member(t, Config{Service: "caller", Embedded: e, Locality: resolver.Locality{Cloud: "aws"}, Chains: ent.source()})
	for name, call := range transports(t, m, "old") {
		r, err := call(metadata.AppendToOutgoingContext(bound(t), "x-gone", "here", "x-set", "mine"), "/x")
		if err != nil || r.name != "web/v1@aws" {
			t.Fatalf("%s: %v, %v", name, r.name, err)
		}
		if from, more := r.header("x-from"), r.header("x-more"); from != "route" || more != "b" {
			t.Errorf("%s: the response has x-from %q and x-more %q", name, from, more)
		}
		if got := <-seen; !strings.HasSuffix(got, "|a||") {
			t.Errorf("%s: the server saw %q, want x-set a and no x-gone", name, got)
		}
	}
}

func TestPrefixRewrite(t *testing.T) {
	t.Parallel()
	e := embedded(t)
	seen := make(chan string, 10)
	start(t, e, seen, "web/v1@aws")
	ent := newEntries(t, webIsHTTP, `{"Kind":"service-router","Name":"web","Routes":[
		{"Match":{"HTTP":{"PathPrefix":"/old/"}},"Destination":{"PrefixRewrite":"/new/"}},
		{"Match":{"HTTP":{"PathExact":"/grpc.testing.TestService/EmptyCall"}},"Destination":{"PrefixRewrite":"/grpc.testing.TestService/UnaryCall"}}]}`)
	m := member(t, Config{Service: "caller", Embedded: e, Locality: resolver.Locality{Cloud: "aws"}, Chains: ent.source()})
	if _, err := get(bound(t), m, "http://web/old/x"); err != nil {
		t.Fatal(err)
	}
	if got := <-seen; !strings.HasPrefix(got, "/new/x|") {
		t.Errorf("HTTP: the server saw %q", got)
	}
	if _, err := dial(t, m, "web").EmptyCall(bound(t), &grpc_testing.Empty{}, grpc.WaitForReady(true)); err != nil {
		t.Fatal(err)
	}
	if got := <-seen; !strings.HasPrefix(got, "/grpc.testing.TestService/UnaryCall|") {
		t.Errorf("gRPC: the server saw %q", got)
	}
}

// Failover goes to the datacenters of the entry in their order, and only there.
func TestFailoverOrder(t *testing.T) {
	t.Parallel()
	e := embedded(t)
	start(t, e, nil, "web/v1@gcp", "web/v1@azure", "web/v1@oci")
	ent := newEntries(t, webIsHTTP, `{"Kind":"service-resolver","Name":"web","Failover":{"*":{"Datacenters":["azure","gcp"]}}}`)
	m := member(t, Config{Service: "caller", Embedded: e, Locality: resolver.Locality{Cloud: "aws"}, Chains: ent.source()})
	for name, call := range transports(t, m, "web") {
		await(t, name, func() (string, error) { r, err := call(bound(t), "/"); return r.name, err }, "web/v1@azure")
		for range 20 {
			if r, err := call(bound(t), "/"); err != nil || r.name != "web/v1@azure" {
				t.Errorf("%s: %v, %v", name, r.name, err)
			}
		}
	}
}

// Data residency removes endpoints before balancing, in failover too, and says so.
func TestResidency(t *testing.T) {
	t.Parallel()
	e := embedded(t)
	start(t, e, nil, "web/v1@gcp")
	ent := newEntries(t, `{"Kind":"service-defaults","Name":"web","Protocol":"http","Meta":{"weft-allowed-clouds":"aws,azure"}}`)
	m := member(t, Config{Service: "caller", Embedded: e, Locality: resolver.Locality{Cloud: "aws"}, Chains: ent.source()})
	_, err := dial(t, m, "web").UnaryCall(bound(t), &grpc_testing.SimpleRequest{})
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "where policy lets calls go") {
		t.Errorf("gRPC: %v", err)
	}
	if _, err := get(bound(t), m, "http://web/"); err == nil || !strings.Contains(err.Error(), "where policy lets calls go") {
		t.Errorf("HTTP: %v", err)
	}
}

// Copies go to the mirror, marked, and are not waited for.
func TestMirror(t *testing.T) {
	t.Parallel()
	e := embedded(t)
	start(t, e, nil, "web/v1@aws")
	seen := make(chan string, 10)
	start(t, e, seen, "shadow/v1@aws")
	ent := newEntries(t, `{"Kind":"service-defaults","Name":"web","Protocol":"http","Meta":{"weft-mirror":"shadow","weft-mirror-percent":"100"}}`,
		`{"Kind":"service-defaults","Name":"shadow","Protocol":"http","Meta":{"weft-mirror":"web","weft-mirror-percent":"100"}}`)
	m := member(t, Config{Service: "caller", Embedded: e, Locality: resolver.Locality{Cloud: "aws"}, Chains: ent.source()})
	for name, call := range transports(t, m, "web") {
		if r, err := call(bound(t), "/"); err != nil || r.name != "web/v1@aws" {
			t.Fatalf("%s: %v, %v", name, r.name, err)
		}
		if name == "stream" {
			continue // a stream is not copied, which is counted
		}
		if got := <-seen; !strings.HasSuffix(got, "|1") {
			t.Errorf("%s: the mirror saw %q, want the mark", name, got)
		}
	}
	for _, r := range m.Routes() {
		if r.Service == "web" && r.MirrorDropped != 1 {
			t.Errorf("%d copies were dropped, want that of the stream", r.MirrorDropped)
		}
	}
}

// Bad content keeps the last good, is reported, and costs no call.
func TestEntriesFromFiles(t *testing.T) {
	t.Parallel()
	e := embedded(t)
	start(t, e, nil, "web/v1@aws", "web/v2@aws")
	path := filepath.Join(t.TempDir(), "web.json")
	write := func(text string) { t.Helper(); replaceFile(t, path, text) }
	write("[" + strings.Join([]string{webIsHTTP, subsets, split("100", "0")}, ",") + "]")
	m := member(t, Config{Service: "caller", Embedded: e, Locality: resolver.Locality{Cloud: "aws"}, Entries: []string{path}})
	call := func() (string, error) { return get(bound(t), m, "http://web/") }
	await(t, "first", call, "web/v1@aws")
	write("[" + strings.Join([]string{webIsHTTP, subsets, split("50", "0")}, ",") + "]")
	write("[" + strings.Join([]string{webIsHTTP, subsets, split("0", "100")}, ",") + "]")
	await(t, "after a bad and a good one", call, "web/v2@aws")
	x, err := m.Explain("web", chain.Recorded{Path: "/"})
	if err != nil || !strings.Contains(x.String(), "v2.web.default.default.aws") {
		t.Errorf("Explain: %v, %v", x, err)
	}
	if s := m.Routes(); len(s) != 1 || s[0].Service != "web" || s[0].Chain == nil || s[0].Err != nil {
		t.Errorf("Routes: %+v", s)
	}
	if _, err := Join(t.Context(), Config{Service: "caller", Entries: []string{filepath.Join(t.TempDir(), "none.json")}}); err == nil || !strings.Contains(err.Error(), "Config.Entries") {
		t.Errorf("a file that is missing: %v", err)
	}
}
