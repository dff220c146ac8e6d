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
//
// # Tiers
//
// Endpoints are ranked from [Config].Local: its zone, the rest of its region, the
// rest of its cloud, then the other clouds one by one. Traffic stays in the first
// tier while 1/1.4 of it is healthy and spills by Envoy's priority formula below;
// it leaves a tier at once and returns slowly. When everything together cannot
// carry the load, health is ignored where less than half is healthy.
//
// # What this package does not do
//
// It does not retry, eject endpoints by their errors, or speak a protocol: see
// package resilience and the faces. It does not count or trace; [Balancer.Status]
// tells what it does. Own policies implement [Policy] and are checked by package
// balancertest. DESIGN.md says how state, locks and publishing fit together.
package balancer
