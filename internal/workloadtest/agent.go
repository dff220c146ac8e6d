// Package workloadtest has a SPIFFE Workload API for tests.
package workloadtest

import (
	"net"
	"path/filepath"
	"sync"
	"testing"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/internal/testpki"
)

// Agent is a small Workload API server on a unix socket. It gives everybody the same
// answer.
type Agent struct {
	workload.UnimplementedSpiffeWorkloadAPIServer
	// Addr is where it listens, as SPIFFE_ENDPOINT_SOCKET has it.
	Addr string

	t    testing.TB
	path string
	srv  *grpc.Server
	done sync.WaitGroup

	mu    sync.Mutex
	resp  *workload.X509SVIDResponse
	err   error
	asked int
	news  chan struct{}
}

// New runs an agent until the test ends. It has no answer before Set.
func New(t testing.TB) *Agent {
	t.Helper()
	a := &Agent{t: t, path: filepath.Join(t.TempDir(), "s"), news: make(chan struct{})}
	a.Addr = "unix://" + a.path
	a.Start()
	t.Cleanup(a.Stop)
	return a
}

// Start serves again after Stop.
func (a *Agent) Start() { a.t.Helper(); a.ServeAs(a) }

// ServeAs serves with an implementation that may do more than the agent's.
func (a *Agent) ServeAs(impl workload.SpiffeWorkloadAPIServer) {
	a.t.Helper()
	lis, err := net.Listen("unix", a.path)
	if err != nil {
		a.t.Fatal(err)
	}
	a.srv = grpc.NewServer()
	workload.RegisterSpiffeWorkloadAPIServer(a.srv, impl)
	a.done.Go(func() { _ = a.srv.Serve(lis) }) // ends with stop
}

// Stop ends the server; its socket is gone then.
func (a *Agent) Stop() { a.srv.Stop(); a.done.Wait() }

// Set makes the agent answer so from now on, and ends streams if err is set. roots are
// the bundle of the SVIDs' trust domain.
func (a *Agent) Set(err error, roots, federated []*testpki.CA, svids ...*x509svid.SVID) {
	a.t.Helper()
	var bundle []byte
	for _, ca := range roots {
		bundle = append(bundle, ca.Cert.Raw...)
	}
	resp := &workload.X509SVIDResponse{FederatedBundles: map[string][]byte{}}
	for _, s := range svids {
		chain, key, merr := s.MarshalRaw()
		if merr != nil {
			a.t.Fatal(merr)
		}
		resp.Svids = append(resp.Svids, &workload.X509SVID{SpiffeId: s.ID.String(), X509Svid: chain, X509SvidKey: key, Bundle: bundle})
	}
	for _, f := range federated {
		resp.FederatedBundles[f.TrustDomain.IDString()] = f.Cert.Raw
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.resp, a.err = resp, err
	close(a.news)
	a.news = make(chan struct{})
}

// Asked is how often the agent was asked.
func (a *Agent) Asked() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked
}

// FetchX509SVID implements the Workload API.
func (a *Agent) FetchX509SVID(_ *workload.X509SVIDRequest, stream grpc.ServerStreamingServer[workload.X509SVIDResponse]) error {
	md, _ := metadata.FromIncomingContext(stream.Context())
	if v := md.Get("workload.spiffe.io"); len(v) != 1 || v[0] != "true" {
		return status.Error(codes.InvalidArgument, "security header missing from request")
	}
	a.mu.Lock()
	a.asked++
	a.mu.Unlock()
	for {
		a.mu.Lock()
		resp, err, news := a.resp, a.err, a.news
		a.mu.Unlock()
		if err != nil {
			return err
		}
		if resp != nil {
			if err := stream.Send(resp); err != nil {
				return err
			}
		}
		select {
		case <-news:
		case <-stream.Context().Done():
			return nil
		}
	}
}
