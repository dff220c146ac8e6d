package mesh

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/weft-mesh/weft/internal/testpki"
	"github.com/weft-mesh/weft/internal/workloadtest"
	"github.com/weft-mesh/weft/security"
	"github.com/weft-mesh/weft/security/workload"
)

// issued is a member's identity from an agent of its own.
type issued struct {
	id    string
	agent *workloadtest.Agent
	src   *workload.Source
}

func issue(t *testing.T, service string, ca *testpki.CA) *issued {
	t.Helper()
	i := &issued{id: "spiffe://a.example/ns/default/dc/local/svc/" + service, agent: workloadtest.New(t)}
	i.agent.Set(nil, []*testpki.CA{ca}, nil, ca.SVID(t, i.id))
	var err error
	if i.src, err = workload.New(bound(t), workload.Config{Addr: i.agent.Addr}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = i.src.Close() })
	return i
}

// rotate gives the member another certificate and waits until it has it.
func (i *issued) rotate(t *testing.T, roots []*testpki.CA, ca *testpki.CA) (serial string) {
	t.Helper()
	changed := i.src.Changed()
	svid := ca.SVID(t, i.id)
	i.agent.Set(nil, roots, nil, svid)
	select {
	case <-changed:
	case <-bound(t).Done():
		t.Fatalf("%s has no new certificate: %+v", i.id, i.src.Status())
	}
	return svid.Certificates[0].SerialNumber.String()
}

// Drill D14: a Workload API gives the members of a mesh 100 certificates each, and
// then those of a new root, while gRPC calls, streams and HTTP requests go on, all
// of which may be made once only: none fails, and each new connection shows the newest.
func TestRotationsByTheWorkloadAPI(t *testing.T) {
	t.Parallel()
	ca := testpki.New(t, "a.example")
	e := embedded(t)
	pay, web, caller := issue(t, "pay", ca), issue(t, "web", ca), issue(t, "caller", ca)
	p := member(t, Config{Service: "pay", Embedded: e, Identity: pay.src})
	addr, _ := serve(t, p, grpcServer(p, &echo{}))
	h := member(t, Config{Service: "web", Embedded: e, Identity: web.src})
	serve(t, h, httpServerOf(t, h, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	m := member(t, Config{Service: "caller", Embedded: e, Identity: caller.src})
	rpc := dial(t, m, "pay")
	ctx, cancel := context.WithCancel(t.Context())
	kinds := []func() error{
		func() error {
			_, err := rpc.UnaryCall(ctx, &grpc_testing.SimpleRequest{}, grpc.WaitForReady(true))
			return err
		},
		func() error {
			s, err := rpc.FullDuplexCall(ctx, grpc.WaitForReady(true))
			if err != nil {
				return err
			}
			if err := s.Send(&grpc_testing.StreamingOutputCallRequest{}); err != nil {
				return err
			}
			if _, err := s.Recv(); err != nil {
				return err
			}
			if err := s.CloseSend(); err != nil {
				return err
			}
			if _, err := s.Recv(); err != io.EOF {
				return err
			}
			return nil
		},
		func() error {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://web/", nil)
			if err != nil {
				return err
			}
			resp, err := m.HTTPClient().Do(req)
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close() // it was read
			return err
		},
	}
	for deadline := bound(t); kinds[2]() != nil; { // until it is announced
		if deadline.Err() != nil {
			t.Fatal("web does not answer")
		}
	}
	var load sync.WaitGroup
	calls := make([]atomic.Int64, len(kinds))
	for i, call := range kinds {
		load.Go(func() {
			for ctx.Err() == nil {
				if err := call(); err != nil && ctx.Err() == nil {
					t.Errorf("a call failed: %v", err)
					return
				}
				calls[i].Add(1)
			}
		})
	}
	turn := func(roots []*testpki.CA, ca *testpki.CA) {
		t.Helper()
		for _, i := range []*issued{caller, web, pay} {
			serial := i.rotate(t, roots, ca)
			if i == pay {
				if got := shown(t, caller.src, addr, i.id); got != serial {
					t.Errorf("a new connection was shown %s, the newest is %s", got, serial)
				}
			}
			m.HTTPClient().CloseIdleConnections() // so that there are handshakes
		}
		for i := range calls {
			for seen := calls[i].Load(); calls[i].Load() == seen && !t.Failed(); {
				<-time.After(100 * time.Microsecond)
			}
		}
	}
	for range 100 {
		turn([]*testpki.CA{ca}, ca)
	}
	next := testpki.New(t, "a.example")
	turn([]*testpki.CA{ca, next}, ca)   // prepare
	turn([]*testpki.CA{ca, next}, next) // activate
	cancel()
	load.Wait()
	t.Logf("%d calls, %d streams, %d requests", calls[0].Load(), calls[1].Load(), calls[2].Load())
}

// shown is the serial number of the certificate that a server shows now.
func shown(t *testing.T, src security.Source, addr, id string) string {
	t.Helper()
	cfg, err := security.ClientTLS(src, id)
	if err != nil {
		t.Fatal(err)
	}
	cfg.NextProtos = []string{"h2"}
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	conn := tls.Client(raw, cfg)
	if err := conn.HandshakeContext(bound(t)); err != nil {
		t.Fatal(err)
	}
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}
