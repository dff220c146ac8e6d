package drills

import (
	"context"
	"crypto/x509"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/peer"

	"github.com/weft-mesh/weft/internal/drill"
	"github.com/weft-mesh/weft/internal/testpki"
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/security"
)

// Identities of this drill live so long; servers bound the age of connections to a
// twelfth of it, and jitter and grace add a fifth to that.
const (
	svidLife = 4 * time.Minute
	maxAge   = svidLife / 12 * 12 / 10
)

// identity is a member's source. It announces its changes, as all of package security do.
type identity struct {
	*testpki.Source
	id string

	mu      sync.Mutex
	changed chan struct{}
	newest  string
	over    map[string]time.Time // when a certificate was replaced, by its serial number
}

func (w *rotation) identity(service string) *identity {
	i := &identity{
		Source: testpki.NewSource(nil), id: "spiffe://a.example/ns/default/dc/home/svc/" + service,
		changed: make(chan struct{}), over: map[string]time.Time{},
	}
	i.renew(w.t, w.ca)
	i.trust(w.ca)
	return i
}

// Changed tells a security.Live of a change.
func (i *identity) Changed() <-chan struct{} {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.changed
}

func (i *identity) announce() {
	i.mu.Lock()
	defer i.mu.Unlock()
	close(i.changed)
	i.changed = make(chan struct{})
}

// renew gives the member a certificate of ca.
func (i *identity) renew(t *testing.T, ca *testpki.CA) {
	svid := ca.SVID(t, i.id, func(s *testpki.Spec) {
		s.Template.NotBefore, s.Template.NotAfter = time.Now().Add(-time.Second), time.Now().Add(svidLife-time.Second)
	})
	i.mu.Lock()
	if i.newest != "" {
		i.over[i.newest] = time.Now()
	}
	i.newest = svid.Certificates[0].SerialNumber.String()
	i.mu.Unlock()
	i.SetSVID(svid)
	i.announce()
}

// trust gives the member the bundle of its trust domain.
func (i *identity) trust(cas ...*testpki.CA) {
	var roots []*x509.Certificate
	for _, ca := range cas {
		roots = append(roots, ca.Cert)
	}
	i.SetBundle(cas[0].TrustDomain, x509bundle.FromX509Authorities(cas[0].TrustDomain, roots))
	i.announce()
}

// oldFor is for how long a certificate that a peer showed has been replaced.
func (i *identity) oldFor(certs []*x509.Certificate) time.Duration {
	i.mu.Lock()
	defer i.mu.Unlock()
	if at, ok := i.over[certs[0].SerialNumber.String()]; ok {
		return time.Since(at)
	}
	return 0
}

// rotation is a mesh whose identities come from a CA that the drill plays.
type rotation struct {
	t         *testing.T
	age       time.Duration // Config.MaxConnectionAge
	authorize security.Authorizer
	net       *drill.Net
	ledger    *drill.Ledger
	embedded  *mesh.Embedded
	ca        *testpki.CA
	members   []*identity // that are renewed
	caller    *mesh.Mesh
	own       *identity // of caller
	rpc       grpc_testing.TestServiceClient
	closers   []func()

	oldest atomic.Int64 // the longest time since a certificate that was seen had been replaced
	strays atomic.Int64 // calls of the one who was not renewed
}

// newRotation makes one; authorize is the members', nil: their own trust domain's.
func newRotation(t *testing.T, age time.Duration, authorize security.Authorizer) *rotation {
	w := &rotation{t: t, age: age, authorize: authorize, ledger: drill.NewLedger(), ca: testpki.New(t, "a.example")}
	w.net = drill.NewNet(rand.Uint64(), func(string, string) time.Duration { return time.Millisecond })
	var err error
	w.embedded, err = mesh.NewEmbedded(nil)
	w.must(err)
	for i := range byte(2) {
		w.member(payments, i, w.grpcServer)
		w.member(web, 2+i, w.httpServer)
	}
	w.own = w.identity("caller")
	w.members = append(w.members, w.own)
	w.caller = w.join("caller", "", w.own)
	w.rpc = w.dial(w.caller, payments)
	return w
}

func (w *rotation) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *rotation) close() {
	for i := len(w.closers) - 1; i >= 0; i-- {
		w.closers[i]()
	}
}

func (w *rotation) join(service, instance string, src security.Source) *mesh.Mesh {
	w.t.Helper()
	m, err := mesh.Join(context.Background(), mesh.Config{
		Service: service, InstanceID: instance, Embedded: w.embedded, Identity: src, MaxConnectionAge: w.age,
		Locality: resolver.Locality{Cloud: "home"}, DialContext: w.net.Dialer("home"), Propagation: -1,
		Authorize: w.authorize,
	})
	w.must(err)
	w.closers = append(w.closers, func() { w.must(m.Leave(context.Background())) })
	return m
}

func (w *rotation) dial(m *mesh.Mesh, service string) grpc_testing.TestServiceClient {
	w.t.Helper()
	conn, err := m.Dial(service)
	w.must(err)
	return grpc_testing.NewTestServiceClient(conn)
}

// member is one that serves, and is renewed with the others.
func (w *rotation) member(service string, i byte, server func(*mesh.Mesh, *identity) any) *net.TCPAddr {
	src := w.identity(service)
	w.members = append(w.members, src)
	return w.serve(service, src, i, server)
}

func (w *rotation) serve(service string, src *identity, i byte, server func(*mesh.Mesh, *identity) any) *net.TCPAddr {
	w.t.Helper()
	addr := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1+i), Port: 81}
	m := w.join(service, addr.String(), src)
	l, err := w.net.Listen(service, addr)
	w.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	srv := server(m, src)
	done.Go(func() {
		if err := m.Serve(ctx, srv, l); err != nil {
			w.t.Errorf("Serve of %s: %v", service, err)
		}
	})
	w.closers = append(w.closers, func() { cancel(); done.Wait() })
	return addr
}

func (w *rotation) grpcServer(m *mesh.Mesh, _ *identity) any {
	srv := m.NewGRPCServer()
	grpc_testing.RegisterTestServiceServer(srv, &rotated{w: w})
	return srv
}

func (w *rotation) httpServer(m *mesh.Mesh, _ *identity) any {
	srv, err := m.NewHTTPServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.saw(r.TLS.PeerCertificates)
		_, _ = io.WriteString(rw, "begun")
		if r.URL.Path == "/open" {
			_ = http.NewResponseController(rw).Flush()
			<-r.Context().Done()
		}
	}))
	w.must(err)
	return srv
}

// saw notes what a caller showed.
func (w *rotation) saw(certs []*x509.Certificate) {
	if certs[0].URIs[0].String() != w.own.id {
		w.strays.Add(1)
		return
	}
	for d := int64(w.own.oldFor(certs)); ; {
		if old := w.oldest.Load(); d <= old || w.oldest.CompareAndSwap(old, d) {
			return
		}
	}
}

// rotated serves the calls of the drill.
type rotated struct {
	grpc_testing.UnimplementedTestServiceServer
	w *rotation
}

func certsOf(p *peer.Peer) []*x509.Certificate {
	return p.AuthInfo.(credentials.TLSInfo).State.PeerCertificates
}

func (s *rotated) UnaryCall(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	p, _ := peer.FromContext(ctx)
	s.w.saw(certsOf(p))
	return &grpc_testing.SimpleResponse{}, nil
}

func (s *rotated) FullDuplexCall(st grpc.BidiStreamingServer[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse]) error {
	p, _ := peer.FromContext(st.Context())
	s.w.saw(certsOf(p))
	for {
		if _, err := st.Recv(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := st.Send(&grpc_testing.StreamingOutputCallResponse{}); err != nil {
			return err
		}
	}
}
