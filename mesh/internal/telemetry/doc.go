// Package telemetry counts and traces calls at next to no cost, and says under
// which names.
//
// A call that is measured reads the clock twice and adds to two words: a bucket
// of a [Histogram] and its sum. The cell it adds to was made when the pair of
// service and method was first seen, with its attributes, and is found by one
// look-up without a lock. Nothing else happens until somebody collects: then
// [Registry.Collect] reads the cells, and costs by the number of series, not of
// calls.
//
// What is collected goes to the user's own OpenTelemetry: through [Bridge] to any
// MeterProvider, or by reference ([Attacher]) to a producer that an SDK's reader
// asks.
//
// Traces begin with a decision that allocates nothing; see [Tracer].
//
// The core knows no transport: grpc.go and http.go hold what is theirs.
package telemetry
