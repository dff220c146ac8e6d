package main

import (
	"context"
	"net"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/weft-mesh/weft/benchmarks/internal/contest"
	"github.com/weft-mesh/weft/benchmarks/internal/identity"
)

// contenders are those of this program.
func contenders() []contest.Contender {
	return []contest.Contender{
		{Name: "bare", About: "grpc-go with mutual TLS, nothing else", Serve: bareServe(), Dial: bareDial()},
		withBallast(contest.Contender{Name: tuned, About: "bare with weft's heap ballast, workers, windows and no retries, which a user of grpc-go could have", Serve: bareServe(
			grpc.NumStreamWorkers(64), grpc.InitialWindowSize(4<<20), grpc.InitialConnWindowSize(8<<20),
		), Dial: bareDial(
			grpc.WithInitialWindowSize(4<<20), grpc.WithInitialConnWindowSize(8<<20), grpc.WithDisableRetry(),
		)}),
		{Name: "weft", About: strings.Join(on(), ", "), Serve: weftServe(switchOn), Dial: weftDial(switchOn)},
		{Name: plainWeft, About: strings.Join(byDefault(), ", "), Serve: weftServe(leaveOff), Dial: weftDial(leaveOff)},
		{Name: noBallast, About: "weft with HeapBallast off", Serve: weftServe(lighten), Dial: weftDial(lighten)},
		{Name: "plain", About: "grpc-go without TLS, for sidecars that have it", Serve: plainServe, Dial: plainDial},
		{Name: "net/http 1.1", About: "net/http with mutual TLS", Serve: httpServe(false), Dial: httpDial(false)},
		{Name: "weft http 1.1", About: strings.Join(on(), ", "), Serve: weftHTTPServe(false), Dial: weftHTTPDial("http")},
		withBallast(contest.Contender{Name: "net/http 1.1" + ballast, About: "net/http 1.1 with weft's heap ballast", Serve: httpServe(false), Dial: httpDial(false)}),
		{Name: "net/http 2", About: "net/http with mutual TLS", Serve: httpServe(true), Dial: httpDial(true)},
		withBallast(contest.Contender{Name: "net/http 2" + ballast, About: "net/http 2 with weft's heap ballast", Serve: httpServe(true), Dial: httpDial(true)}),
		{Name: "weft http 2", About: strings.Join(on(), ", "), Serve: weftHTTPServe(true), Dial: weftHTTPDial("http2")},
	}
}

// tuned is bare with settings, plainWeft is weft without; noBallast is weft without the
// one that costs memory, and ballast ends the names of those who have it too.
const (
	tuned     = "bare, tuned"
	plainWeft = "weft, defaults"
	noBallast = "weft, no ballast"
	ballast   = ", ballast"
)

func bareServe(opts ...grpc.ServerOption) func(context.Context, string) (*contest.Server, error) {
	return func(_ context.Context, dir string) (*contest.Server, error) {
		id, cfg, err := identity.OpenTLS(dir, "echo", true)
		if err != nil {
			return nil, err
		}
		s, err := stockServer(append(opts[:len(opts):len(opts)], grpc.Creds(credentials.NewTLS(cfg)))...)
		return closing(s, id), err
	}
}

func bareDial(opts ...grpc.DialOption) func(context.Context, string, string) (*contest.Client, error) {
	return func(_ context.Context, dir, addr string) (*contest.Client, error) {
		id, cfg, err := identity.OpenTLS(dir, "client", false)
		if err != nil {
			return nil, err
		}
		conn, err := grpc.NewClient("passthrough:///"+addr, append(opts[:len(opts):len(opts)], grpc.WithTransportCredentials(credentials.NewTLS(cfg)))...)
		if err != nil {
			return nil, err
		}
		return contest.GRPC(conn, func() error { id.Close(); return conn.Close() }), nil
	}
}

func plainServe(context.Context, string) (*contest.Server, error) { return stockServer() }

func plainDial(_ context.Context, _, addr string) (*contest.Client, error) {
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	return contest.GRPC(conn, conn.Close), nil
}

// stockServer is grpc-go's.
func stockServer(opts ...grpc.ServerOption) (*contest.Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	srv := grpc.NewServer(opts...)
	grpc_testing.RegisterTestServiceServer(srv, contest.Echo{})
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	return &contest.Server{Addr: l.Addr().String(), Close: func() error { srv.Stop(); return <-served }}, nil
}

// closing has a server end its identity too.
func closing(s *contest.Server, id *identity.Identity) *contest.Server {
	if s != nil {
		end := s.Close
		s.Close = func() error { id.Close(); return end() }
	}
	return s
}
