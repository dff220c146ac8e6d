package consulca_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/consul/proto-public/pbconnectca"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/internal/consultest/ctest"
	"github.com/weft-mesh/weft/internal/testpki"
	"github.com/weft-mesh/weft/security"
	"github.com/weft-mesh/weft/security/consulca"
)

// TestSign: with a token that may be one service and may not ask the agent where it
// is, the identity comes from Consul, and its key from this process.
func TestSign(t *testing.T) {
	t.Parallel()
	agent := ctest.Start(t, consultest.Config{Datacenter: "aws", ACL: true})
	token, _, err := agent.Client().ACL().TokenCreate(&api.ACLToken{ServiceIdentities: []*api.ACLServiceIdentity{{ServiceName: "web"}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	conf := api.DefaultConfig()
	conf.Address, conf.Token = agent.HTTPAddr(), token.SecretID
	c, err := api.NewClient(conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conf.Transport.CloseIdleConnections)
	dir := t.TempDir()
	open := func(service string, within time.Duration) (*consulca.Source, error) {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		return consulca.New(ctx, consulca.Config{Service: service, Client: c, GRPCAddr: agent.GRPCAddr(), Token: token.SecretID, CacheDir: dir, MaxBackoff: time.Second})
	}
	web, err := open("web", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = web.Close() })
	id, err := security.ParseServiceID(idOf(t, web))
	if err != nil || id.Datacenter != "aws" || id.Service != "web" {
		t.Errorf("identity %+v, %v", id, err)
	}
	payments := join(t, agent, "payments")
	for _, pair := range [][2]*consulca.Source{{web, payments}, {payments, web}} {
		if err := handshake(t, pair[0], pair[1], idOf(t, pair[1])); err != nil {
			t.Error(err)
		}
	}
	if _, err := open("orders", 2*time.Second); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "service:write") || strings.Contains(err.Error(), token.SecretID) {
		t.Errorf("as another service: %v, want what the token needs and not the token", err)
	}
	if left := files(t, dir); len(left) > 0 {
		t.Errorf("left on disk: %v", left)
	}
}

// issuer is Consul's CA service with certificates that live as long as a test wants.
type issuer struct {
	pbconnectca.UnimplementedConnectCAServiceServer
	t     *testing.T
	ca    *testpki.CA
	life  time.Duration
	token string

	mu     sync.Mutex
	dead   bool
	signed int
}

func (i *issuer) set(dead bool) { i.mu.Lock(); defer i.mu.Unlock(); i.dead = dead }

func (i *issuer) count() int { i.mu.Lock(); defer i.mu.Unlock(); return i.signed }

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
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(int64(i.signed + 1)), URIs: csr.URIs, NotBefore: now, NotAfter: now.Add(i.life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, i.ca.Cert, csr.PublicKey, i.ca.Key)
	if err != nil {
		return nil, err
	}
	i.signed++
	return &pbconnectca.SignResponse{CertPem: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}, nil
}

// TestRenewal (drill D15): a leaf is renewed before it ends; when the issuer is dead that
// is said three times and once when it is over, the expired leaf is not presented, and
// the identity is back when the issuer is.
func TestRenewal(t *testing.T) {
	t.Parallel()
	const canary = "canary-7f3a-token"
	i := &issuer{t: t, ca: testpki.New(t, "a.example"), life: 3 * time.Second, token: canary}
	srv := grpc.NewServer()
	pbconnectca.RegisterConnectCAServiceServer(srv, i)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() { _ = srv.Serve(l) }) // ends with Stop
	t.Cleanup(func() { srv.Stop(); served.Wait() })
	var log lockedBuffer
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := consulca.New(ctx, consulca.Config{
		Service: "web", Datacenter: "aws", GRPCAddr: l.Addr().String(), Token: canary, MaxBackoff: 100 * time.Millisecond,
		Client: &api.Client{}, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	for i.count() < 4 {
		svid, err := s.GetX509SVID()
		if err != nil {
			t.Fatal(err)
		}
		if left := time.Until(svid.Certificates[0].NotAfter); left < -100*time.Millisecond {
			t.Errorf("renewed %v too late", -left)
		}
		wait(t)
	}
	if text := log.String(); strings.Contains(text, "svid.expiring") || strings.Count(text, "svid.rotated") < 3 {
		t.Errorf("while the issuer is well:\n%s", text)
	}
	i.set(true)
	for !strings.Contains(log.String(), "svid.expired") {
		wait(t)
	}
	if n := strings.Count(log.String(), "msg=svid.expiring"); n < 1 || n > 3 { // the first may have been past at the loss
		t.Errorf("%d warnings before the end, want up to 3:\n%s", n, log.String())
	}
	if err := handshake(t, s, s, idOf(t, s)); !errors.Is(err, security.ErrNoIdentity) {
		t.Errorf("with an expired leaf: %v", err)
	}
	i.set(false)
	for s.Status().Err != nil || time.Now().After(s.Status().NotAfter) {
		wait(t)
	}
	if err := handshake(t, s, s, idOf(t, s)); err != nil {
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
	for what, text := range map[string]string{"log": log.String(), "status": fmt.Sprintf("%+v", s.Status()), "source": fmt.Sprintf("%v", s.Status().Err)} {
		if strings.Contains(text, canary) || strings.Contains(text, keyText) {
			t.Errorf("the token or the key is in the %s", what)
		}
	}
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string { b.mu.Lock(); defer b.mu.Unlock(); return b.buf.String() }

func TestGRPCAddrRefused(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"8502", "unix://", "consul.example:8502", "http://10.0.0.1:8502", "::1"} {
		_, err := consulca.New(t.Context(), consulca.Config{Service: "web", Client: &api.Client{}, GRPCAddr: addr})
		if err == nil || !strings.HasPrefix(err.Error(), "consulca: Config.GRPCAddr") {
			t.Errorf("%q: %v, want an error that names the field", addr, err)
		}
	}
}

func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
