// Package resilience says what became of an attempt, once, for everyone who
// needs to know: the balancer's load, retries, breakers and metrics all read the
// same [Outcome].
//
// [FromGRPC] and [FromHTTP] make the Outcome from a transport's reply. A
// caller's own cancel or deadline and our own refusals are [Neutral]: they say
// nothing about the endpoint.
//
// # Loops
//
// A [Loop] makes a call: the first attempt, and those that repeat it. It repeats
// what certainly was not sent, and what failed for the time being if the call is
// idempotent, at most three times, after a random wait, within the caller's time,
// and within the [Budget] of the destination, which retries and hedges share. A
// [Hedge] makes a slow call a second time and takes the faster reply.
//
// [GRPCClient] and [HTTPClient] put a Loop around stock grpc-go connections and
// net/http transports:
//
//	client, err := resilience.NewGRPCClient(resilience.GRPCClientConfig{Idempotent: []string{"/inventory.Inventory/Get"}})
//	conn, err := grpc.NewClient(target, append(client.DialOptions(), creds)...)
//
//	retrying, err := resilience.NewHTTPClient(http.DefaultTransport, resilience.HTTPClientConfig{})
//	web := &http.Client{Transport: retrying}
//
// A call that is not repeated costs two allocations over gRPC, and five over HTTP
// of which three are the header weft-timeout, if it has a deadline already; an
// armed hedge costs six more. No goroutine is started for a call but the
// one of a hedge that is sent.
//
// # Gates
//
// A [Gate] lets a call go, or not, and is told what became of it. [NewChain] puts
// several in order.
//
//   - [Breaker], in a [BreakerSet] by service and cloud: not while most calls fail.
//   - [Throttle]: not while the service refuses most calls.
//   - [ConcurrencyLimit]: not more at a time than the work bears; low [Priority] first.
//   - [RateLimit]: not more per second; on a client, not before the server wants to.
//   - [DeadlineGate]: not what nobody waits for any more.
//   - [Fault]: not what a test wants to see fail.
//
// [GRPCClientGates], [GRPCServerGates], [HTTPClientGates] and [HTTPServerGates] put
// gates around stock grpc-go and net/http:
//
//	limit, err := resilience.NewConcurrencyLimit(resilience.ConcurrencyConfig{})
//	gates := resilience.NewGRPCServerGates(resilience.GRPCServerConfig{Tap: []resilience.Gate{limit}})
//	srv := grpc.NewServer(gates.ServerOptions()...)
//
// An [Outlier] is no gate: it watches the endpoints of a service and tells the
// balancer whom to leave out for a while. It also finds endpoints that have fallen
// silent, where all that callers see is that their own time is over.
//
// # What travels
//
//	weft-priority               gRPC and HTTP request: the call's class; see PriorityKey
//	weft-fault                  gRPC and HTTP request: a fault, where allowed; see FaultKey
//	weft-refused                gRPC trailer, HTTP response: refused before any work was done
//	weft-timeout                HTTP request: time left, in the syntax of grpc-timeout
//	weft-attempt                HTTP request: number of the attempt, from 2
//	grpc-previous-rpc-attempts  gRPC request: attempts before this one, from 1
//	weft-retried                gRPC trailer, HTTP response: retried below, do not retry
//	grpc-retry-pushback-ms      gRPC trailer: when to come back; negative: not at all
//	Retry-After                 HTTP response: when to come back
//
// On the server side [GRPCInbound] and [HTTPInbound] read and write them. At a
// trust border set InboundConfig.Untrusted and use [StripHTTP].
package resilience
