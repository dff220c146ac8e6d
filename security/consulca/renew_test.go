package consulca

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/consul/proto-public/pbconnectca"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/weft-mesh/weft/internal/testpki"
	"github.com/weft-mesh/weft/security"
)

// issuer is Consul's CA service with certificates that live as long as a test wants.
type issuer struct {
	pbconnectca.UnimplementedConnectCAServiceServer
	ca    *testpki.CA
	life  time.Duration
	token string

	mu   sync.Mutex
	dead bool
	left []time.Duration // of the last leaf when the next was signed
	end  time.Time       // of the last leaf
}

func (i *issuer) set(dead bool) { i.mu.Lock(); defer i.mu.Unlock(); i.dead = dead }

func (i *issuer) WatchRoots(_ *pbconnectca.WatchRootsRequest, s pbconnectca.ConnectCAService_WatchRootsServer) error {
	root := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.ca.Cert.Raw}))
	if err := s.Send(&pbconnectca.WatchRootsResponse{ActiveRootId: "1", TrustDomain: i.ca.TrustDomain.Name(), Roots: []*pbconnectca.CARoot{{Id: "1", RootCert: root}}}); err != nil {
		return err
	}
	<-s.Context().Done()
	return s.Context().Err()
}

func (i *issuer) Sign(ctx context.Context, r *pbconnectca.SignRequest) (*pbconnectca.SignResponse, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if md, _ := metadata.FromIncomingContext(ctx); strings.Join(md.Get("x-consul-token"), ",") != i.token {
		return nil, status.Error(codes.PermissionDenied, "wrong token")
	}
	if i.dead {
		return nil, status.Error(codes.Unavailable, "no leader")
	}
	block, _ := pem.Decode([]byte(r.GetCsr()))
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil || csr.CheckSignature() != nil {
		return nil, status.Error(codes.InvalidArgument, "bad CSR")
	}
	now := time.Now()
	if !i.end.IsZero() {
		i.left = append(i.left, i.end.Sub(now))
	}
	i.end = now.Add(i.life)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(i.left) + 1)), URIs: csr.URIs, NotBefore: now, NotAfter: i.end,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, i.ca.Cert, csr.PublicKey, i.ca.Key)
	if err != nil {
		return nil, err
	}
	return &pbconnectca.SignResponse{CertPem: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}, nil
}

// TestRenewal (drill D15): a leaf is renewed before it ends; when the issuer is dead that
// is said three times and once when it is over, the expired leaf is not presented, and
// the identity is back when the issuer is.
func TestRenewal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, renewals)
}

func renewals(t *testing.T) {
	const canary, life = "canary-7f3a-token", time.Hour
	i := &issuer{ca: testpki.New(t, "a.example"), life: life, token: canary}
	srv := grpc.NewServer()
	pbconnectca.RegisterConnectCAServiceServer(srv, i)
	l := bufconn.Listen(1 << 16)
	var served sync.WaitGroup
	served.Go(func() { _ = srv.Serve(l) }) // ends with Stop
	defer func() { srv.Stop(); served.Wait() }()
	var mu sync.Mutex
	var log bytes.Buffer
	logged := func() string { mu.Lock(); defer mu.Unlock(); return log.String() }
	s, err := prepare(Config{
		Service: "web", Datacenter: "aws", GRPCAddr: "127.0.0.1:1", Token: canary, Client: &api.Client{},
		Logger: slog.New(slog.NewTextHandler(&locked{&mu, &log}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	_ = s.conn.Close()
	s.conn, err = grpc.NewClient("passthrough:///consul", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	pass := func(d time.Duration) { time.Sleep(d); synctest.Wait() }
	pass(5 * life)
	if n := len(i.left); n < 5 || n > 9 {
		t.Errorf("renewed %d times in 5 lives", n)
	}
	for _, left := range i.left {
		if left < life/10-time.Second || left > life*4/10 {
			t.Errorf("renewed with %v left of %v", left, life)
		}
	}
	if text := logged(); strings.Contains(text, "svid.expiring") || strings.Count(text, "svid.rotated") != len(i.left)+1 {
		t.Errorf("while the issuer is well:\n%s", text)
	}
	i.set(true)
	pass(life)
	if n := strings.Count(logged(), "msg=svid.expiring"); n < 1 || n > 3 { // the first may have been past at the loss
		t.Errorf("%d warnings before the end, want up to 3:\n%s", n, logged())
	}
	if n := strings.Count(logged(), "msg=svid.expired"); n != 1 {
		t.Errorf("the end is told of %d times:\n%s", n, logged())
	}
	if err := selfHandshake(t, s); !errors.Is(err, security.ErrNoIdentity) {
		t.Errorf("with an expired leaf: %v", err)
	}
	i.set(false)
	pass(time.Minute)
	if st := s.Status(); st.Err != nil || time.Until(st.NotAfter) < life-time.Minute-time.Second {
		t.Errorf("after the issuer's return: %+v", st)
	}
	if err := selfHandshake(t, s); err != nil {
		t.Errorf("after the issuer's return: %v", err)
	}
	svid, err := s.GetX509SVID()
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := svid.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	keyText := strings.Split(string(key), "\n")[1]
	for what, text := range map[string]string{"log": logged(), "status": fmt.Sprintf("%+v", s.Status()), "source": fmt.Sprintf("%v", s.Status().Err)} {
		if strings.Contains(text, canary) || strings.Contains(text, keyText) {
			t.Errorf("the token or the key is in the %s", what)
		}
	}
}

// selfHandshake connects a source with itself and returns either end's error.
func selfHandshake(t *testing.T, s *Source) error {
	t.Helper()
	scfg, err := security.ServerTLS(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	ccfg, err := security.ClientTLS(s, s.Status().ID)
	if err != nil {
		t.Fatal(err)
	}
	a, b := net.Pipe()
	server := make(chan error, 1)
	go func() {
		defer b.Close()
		server <- tls.Server(b, scfg).Handshake()
	}()
	cerr := tls.Client(a, ccfg).Handshake()
	_ = a.Close() // the server may still be writing an alert
	return errors.Join(cerr, <-server)
}
