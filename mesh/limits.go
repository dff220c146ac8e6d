package mesh

import "time"

// Limits of the servers made here. The libraries' own defaults are open: no
// timeouts (net/http), 16 MiB of headers and unlimited streams (grpc-go).
const (
	handshakeTimeout  = 5 * time.Second
	readHeaderTimeout = 5 * time.Second
	httpIdleTimeout   = 2 * time.Minute
	maxStreams        = 250 // of one connection
	// streamWorkers are goroutines of a gRPC server that handle one call after the other.
	// A new goroutine for each call grows its stack each time, which is a tenth of
	// what a small call costs a server. Calls beyond get a goroutine of their own.
	streamWorkers = 64
	// maxHeaderList bounds the headers of a message, both ways, in bytes.
	maxHeaderList = 64 << 10
	// The windows of gRPC, in bytes: what a peer may send before it is read. They are
	// fixed, because grpc's search for the best size sends a ping each round trip; a
	// search would end at up to 16 MiB. One stream of an 80 ms path gets 50 MB/s.
	streamWindow = 4 << 20
	connWindow   = 8 << 20
	// joinTimeout bounds the wait for an identity, if the context does not.
	joinTimeout = 30 * time.Second
	// leaveTimeout bounds a Leave whose context has ended before it began.
	leaveTimeout = 5 * time.Second
	// agentTimeout bounds what Join asks of an agent that may be down.
	agentTimeout = time.Second
)
