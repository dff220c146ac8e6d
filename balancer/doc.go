// Package balancer answers one question: which endpoint gets this attempt.
//
// A [Balancer] holds the endpoints of one service as nodes, an endpoint with its
// live state each, sorts them into tiers by locality, keeps connections to a
// subset of them, and publishes an immutable [Picker] that a [Policy] built. A
// pick takes no lock and allocates nothing.
//
// Policies are values: [PeakEWMA] (the default), [LeastRequest], [RoundRobin],
// [Random], [RingHash], [Maglev].
//
// The gRPC face is the load-balancing policy named "weft" ([Name]); the HTTP
// face is [Transport], one connection pool per endpoint.
package balancer
