// Handmade is the stack that a team builds by hand: grpc-go with mutual TLS,
// otelgrpc with 1 % of traces on both sides, go-grpc-middleware's retries and
// gobreaker's breaker.
package main

import (
	"context"
	"time"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/retry"
	"github.com/sony/gobreaker/v2"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/stats"

	"github.com/weft-mesh/weft/benchmarks/internal/contest"
	"github.com/weft-mesh/weft/benchmarks/internal/identity"
	"github.com/weft-mesh/weft/benchmarks/internal/stock"
)

func main() {
	contest.Peer(contest.Contender{Name: "handmade", Serve: stock.Serve(grpc.StatsHandler(telemetry(otelgrpc.NewServerHandler))), Dial: dial,
		About: "grpc-go with mutual TLS, round_robin, otelgrpc with metrics and 1 % of traces on both sides, go-grpc-middleware retry, gobreaker"})
}

// telemetry samples 1 % of the traces, and keeps metrics for a reader; neither is
// sent anywhere.
func telemetry(handler func(...otelgrpc.Option) stats.Handler) stats.Handler {
	return handler(
		otelgrpc.WithTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(0.01))))),
		otelgrpc.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))),
	)
}

func dial(_ context.Context, dir, addr string) (*contest.Client, error) {
	id, cfg, err := identity.OpenTLS(dir, "client", false)
	if err != nil {
		return nil, err
	}
	breaker := gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{Name: "echo"})
	guard := func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		done, err := breaker.Allow()
		if err != nil {
			return err
		}
		err = invoke(ctx, method, req, reply, cc, opts...)
		done(err)
		return err
	}
	again := retry.UnaryClientInterceptor(retry.WithMax(3), retry.WithCodes(codes.Unavailable),
		retry.WithBackoff(retry.BackoffExponentialWithJitter(25*time.Millisecond, 0.5)))
	conn, err := grpc.NewClient("passthrough:///"+addr,
		grpc.WithTransportCredentials(credentials.NewTLS(cfg)),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`),
		grpc.WithStatsHandler(telemetry(otelgrpc.NewClientHandler)),
		grpc.WithChainUnaryInterceptor(guard, again))
	if err != nil {
		return nil, err
	}
	return contest.GRPC(conn, func() error { id.Close(); return conn.Close() }), nil
}
