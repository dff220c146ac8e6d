package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/static"
	"github.com/weft-mesh/weft/security/devca"
)

// devDir names the folder of the CA that both processes share; it is set in the
// server process only.
const devDir = "WEFT_BENCH_CA"

// isServer reports whether this is the server process.
func isServer() bool { return os.Getenv(devDir) != "" }

// pair is a client process (this one) and a server process with two servers.
type pair struct {
	cmd        *exec.Cmd
	in         io.WriteCloser
	out        *bufio.Reader
	bare, weft grpc_testing.TestServiceClient
	first      time.Duration
	closers    []func()
}

// hello is the server's first line.
type hello struct{ Bare, Weft string }

func startPair(ctx context.Context) (p *pair, err error) {
	p = &pair{}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	dir, err := os.MkdirTemp("", "weft-overhead-")
	if err != nil {
		return p, err
	}
	p.closers = append(p.closers, func() { os.RemoveAll(dir) })
	self, err := os.Executable()
	if err != nil {
		return p, err
	}
	p.cmd = exec.CommandContext(ctx, self)
	p.cmd.Env = append(os.Environ(), devDir+"="+dir)
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return p, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return p, err
	}
	if err = p.cmd.Start(); err != nil {
		return p, err
	}
	p.out = bufio.NewReader(out)
	var h hello
	if err = p.line(&h); err != nil {
		return p, fmt.Errorf("the server process did not start: %w", err)
	}
	id, err := identity(dir, "client")
	if err != nil {
		return p, err
	}
	p.closers = append(p.closers, id.close)
	bare, err := grpc.NewClient("passthrough:///"+h.Bare, grpc.WithTransportCredentials(id.plain(false)))
	if err != nil {
		return p, err
	}
	p.closers = append(p.closers, func() { bare.Close() })
	p.bare = grpc_testing.NewTestServiceClient(bare)
	return p, p.dialWeft(ctx, h.Weft, id)
}

// dialWeft dials through the mesh, and times the first call: resolve, connect,
// handshake, call.
func (p *pair) dialWeft(ctx context.Context, addr string, id *ident) error {
	spiffeID, err := id.ca.ID("", "echo")
	if err != nil {
		return err
	}
	cat := static.New(static.Config{})
	if err := cat.Set("echo", resolver.Endpoint{Addr: addr, Protocol: "grpc", SPIFFEID: spiffeID}); err != nil {
		return err
	}
	m, err := mesh.Join(ctx, measured(mesh.Config{Service: "client", Catalog: cat, Identity: id.src}))
	if err != nil {
		return err
	}
	p.closers = append(p.closers, func() { _ = m.Leave(context.Background()) })
	start := time.Now()
	conn, err := m.Dial("echo")
	if err != nil {
		return err
	}
	p.weft = grpc_testing.NewTestServiceClient(conn)
	_, err = p.weft.EmptyCall(ctx, &grpc_testing.Empty{})
	p.first = time.Since(start)
	return err
}

// measured is cfg with metrics and 1 % of traces.
func measured(cfg mesh.Config) mesh.Config {
	cfg.MeterProvider = sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
	cfg.TracerProvider = sdktrace.NewTracerProvider()
	return cfg
}

func (p *pair) line(v any) error {
	text, err := p.out.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}

// serverMallocs asks the server process how often it has allocated.
func (p *pair) serverMallocs() (n uint64, err error) {
	if _, err = io.WriteString(p.in, "\n"); err != nil {
		return 0, err
	}
	return n, p.line(&n)
}

func (p *pair) close() {
	for i := len(p.closers) - 1; i >= 0; i-- {
		p.closers[i]()
	}
	if p.in != nil {
		p.in.Close() // ends the server process
		_ = p.cmd.Wait()
	}
}

// ident is an identity of the shared development CA, for both sides of the comparison.
type ident struct {
	ca  *devca.CA
	src *devca.Source
}

func identity(dir, service string) (*ident, error) {
	ca, err := devca.New(devca.Config{Dir: filepath.Join(dir, "ca"), Cloud: "bench"})
	if err != nil {
		return nil, err
	}
	src, err := ca.Source(service)
	if err != nil {
		return nil, err
	}
	return &ident{ca, src}, nil
}

func (i *ident) close() {
	_ = i.src.Close()
}

// plain is what a team without a mesh writes: TLS 1.3 both ways, the chain checked
// against the CA once per connection.
func (i *ident) plain(server bool) credentials.TransportCredentials {
	verify := func(cs tls.ConnectionState) error {
		svid, err := i.src.GetX509SVID()
		if err != nil {
			return err
		}
		bundle, err := i.src.GetX509BundleForTrustDomain(svid.ID.TrustDomain())
		if err != nil {
			return err
		}
		roots := x509.NewCertPool()
		for _, c := range bundle.X509Authorities() {
			roots.AddCert(c)
		}
		if len(cs.PeerCertificates) == 0 {
			return errors.New("no certificate")
		}
		_, err = cs.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
		return err
	}
	svid, err := i.src.GetX509SVID()
	if err != nil {
		panic(err) // a source of a CA that is open has one
	}
	cert := tls.Certificate{PrivateKey: svid.PrivateKey}
	for _, c := range svid.Certificates {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, VerifyConnection: verify}
	if server {
		cfg.ClientAuth = tls.RequireAnyClientCert
	} else {
		cfg.InsecureSkipVerify = true // VerifyConnection does it; there is no DNS name
	}
	return credentials.NewTLS(cfg)
}

type echo struct {
	grpc_testing.UnimplementedTestServiceServer
}

func (echo) EmptyCall(context.Context, *grpc_testing.Empty) (*grpc_testing.Empty, error) {
	return &grpc_testing.Empty{}, nil
}

func (echo) UnaryCall(_ context.Context, req *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	return &grpc_testing.SimpleResponse{Payload: req.Payload}, nil
}

// serve runs both servers until standard input ends, and answers each line with
// the process's count of allocations.
func serve() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	id, err := identity(os.Getenv(devDir), "echo")
	if err != nil {
		return err
	}
	defer id.close()
	bareListener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	weftListener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	bare := grpc.NewServer(grpc.Creds(id.plain(true)))
	grpc_testing.RegisterTestServiceServer(bare, echo{})
	go func() { _ = bare.Serve(bareListener) }()
	defer bare.Stop()
	m, err := mesh.Join(ctx, measured(mesh.Config{Service: "echo", Catalog: static.New(static.Config{}), Identity: id.src, Propagation: -1}))
	if err != nil {
		return err
	}
	weft := m.NewGRPCServer()
	grpc_testing.RegisterTestServiceServer(weft, echo{})
	served := make(chan error, 1)
	go func() { served <- m.Serve(ctx, weft, weftListener) }()
	enc := json.NewEncoder(os.Stdout)
	if err := enc.Encode(hello{bareListener.Addr().String(), weftListener.Addr().String()}); err != nil {
		return err
	}
	var mem runtime.MemStats
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		runtime.ReadMemStats(&mem)
		if err := enc.Encode(mem.Mallocs); err != nil {
			return err
		}
	}
	cancel()
	return errors.Join(<-served, m.Leave(context.Background()))
}
