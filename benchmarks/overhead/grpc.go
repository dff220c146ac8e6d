package main

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/weft-mesh/weft/benchmarks/internal/contest"
	"github.com/weft-mesh/weft/benchmarks/internal/stock"
)

// contenders are those of this program.
func contenders() []contest.Contender {
	return []contest.Contender{
		{Name: "bare", About: "grpc-go with mutual TLS, nothing else", Serve: stock.Serve(), Dial: stock.Dial()},
		withBallast(contest.Contender{Name: tuned, About: "bare with weft's heap ballast, workers, windows and no retries, which a user of grpc-go could have", Serve: stock.Serve(
			grpc.NumStreamWorkers(64), grpc.InitialWindowSize(4<<20), grpc.InitialConnWindowSize(8<<20),
		), Dial: stock.Dial(
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

func plainServe(context.Context, string) (*contest.Server, error) { return stock.Server() }

func plainDial(_ context.Context, _, addr string) (*contest.Client, error) {
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	return contest.GRPC(conn, conn.Close), nil
}
