package consulca

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/consul/proto-public/pbconnectca"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
)

// openGRPC prepares the connection to Consul's gRPC API. It does no I/O.
func (s *Source) openGRPC() error {
	target, secure, err := grpcTarget(s.cfg.GRPCAddr)
	if err != nil {
		return err
	}
	creds := insecure.NewCredentials()
	if secure {
		cfg := s.cfg.GRPCTLS
		if cfg == nil {
			if cfg, err = api.SetupTLSConfig(&api.TLSConfig{CAFile: cmp.Or(os.Getenv(api.GRPCCAFileEnvName), os.Getenv(api.HTTPCAFile))}); err != nil {
				return fmt.Errorf("consulca: TLS of Config.GRPCAddr from %s: %w", api.GRPCCAFileEnvName, err)
			}
		}
		creds = credentials.NewTLS(withVersion(cfg))
	}
	s.conn, err = grpc.NewClient(target, grpc.WithTransportCredentials(creds), grpc.WithNoProxy(),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           grpcbackoff.Config{BaseDelay: baseBackoff, Multiplier: 1.6, Jitter: 0.2, MaxDelay: s.cfg.MaxBackoff},
			MinConnectTimeout: 5 * time.Second,
		}),
		// A stream of roots is silent for months: this finds a Consul that is gone.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}))
	if err != nil {
		return fmt.Errorf("consulca: Config.GRPCAddr: %w", err)
	}
	return nil
}

func withVersion(cfg *tls.Config) *tls.Config {
	cfg = cfg.Clone()
	cfg.MinVersion = max(cfg.MinVersion, tls.VersionTLS12)
	return cfg
}

// grpcTarget reads an address as Consul's tools do. The token goes over the connection
// with each request, so plaintext stays on the machine.
func grpcTarget(addr string) (target string, secure bool, err error) {
	if path, ok := strings.CutPrefix(addr, "unix://"); ok && path != "" {
		return "unix:" + path, false, nil
	}
	rest, secure := strings.CutPrefix(addr, "https://")
	rest = strings.TrimPrefix(rest, "http://")
	host, _, err := net.SplitHostPort(rest)
	if err != nil {
		return "", false, fmt.Errorf("consulca: Config.GRPCAddr %.200q is not host:port, http://, https:// or unix:///path", addr)
	}
	ip, perr := netip.ParseAddr(host)
	if !secure && host != "localhost" && (perr != nil || !ip.IsLoopback()) {
		return "", false, fmt.Errorf("consulca: Config.GRPCAddr %.200q would send the token in plaintext over the network; use https:// and the port grpc_tls", addr)
	}
	return "dns:///" + rest, secure, nil
}

// authorized adds the token to the requests of ctx; Consul looks at it each time.
func (s *Source) authorized(ctx context.Context) (context.Context, error) {
	token := s.cfg.Token
	if s.cfg.TokenFile != "" {
		text, err := os.ReadFile(s.cfg.TokenFile)
		if err != nil {
			return ctx, fmt.Errorf("read the token: %w", err)
		}
		token = strings.TrimSpace(string(text))
	}
	if token == "" {
		return ctx, nil
	}
	return metadata.AppendToOutgoingContext(ctx, "x-consul-token", token), nil
}

// followRoots keeps the roots, and tells signer the trust domain and that the active
// root is another, until ctx ends.
func (s *Source) followRoots(ctx context.Context, news chan<- signing) {
	ca := pbconnectca.NewConnectCAServiceClient(s.conn)
	for failures := 0; ctx.Err() == nil; {
		err := s.streamRoots(ctx, ca, news, func() { failures = 0 })
		if ctx.Err() != nil {
			return
		}
		s.outcome("roots", fmt.Errorf("watch the CA roots: %w", plain(err)))
		sleep(ctx, backoff(failures, s.cfg.MaxBackoff))
		failures++
	}
}

func (s *Source) streamRoots(ctx context.Context, ca pbconnectca.ConnectCAServiceClient, news chan<- signing, ok func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ctx, err := s.authorized(ctx)
	if err != nil {
		return err
	}
	stream, err := ca.WatchRoots(ctx, &pbconnectca.WatchRootsRequest{}, grpc.MaxCallRecvMsgSize(maxAnswer))
	if err != nil {
		return err
	}
	for {
		r, err := stream.Recv()
		if err != nil {
			return err
		}
		list := &api.CARootList{ActiveRootID: r.GetActiveRootId(), TrustDomain: r.GetTrustDomain()}
		for _, root := range r.GetRoots() {
			list.Roots = append(list.Roots, &api.CARoot{ID: root.GetId(), RootCertPEM: root.GetRootCert()})
		}
		bundle, err := parseRoots(list)
		if err != nil {
			return err
		}
		ok()
		s.outcome("roots", nil)
		s.outcome("fit", s.take(nil, bundle))
		select {
		case news <- signing{bundle.TrustDomain(), list.ActiveRootID}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// signing is what a certificate is asked for of.
type signing struct {
	domain spiffeid.TrustDomain
	root   string
}

const maxAnswer = 4 << 20
