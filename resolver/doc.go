// Package resolver answers one question: where is this service.
//
// A [Catalog] is a source of endpoints: a Consul cluster, a WAN-federated
// datacenter, a peer, a file, or memory. It has one method, Watch, that
// delivers whole [Snapshot] values, never deltas. A snapshot keeps three things
// apart that most resolvers mix up: a service that is not known yet, a service
// that is known to have no endpoints, and a list that is stale because its
// source cannot be reached.
//
// [Merge] makes one catalog of several clouds that fail apart: each source
// keeps its own age, backoff and error. [Cache] keeps the last good answer of a
// source in memory and on disk, and quarantines answers that look like an
// accident of the source rather than the end of a service.
//
// # gRPC
//
// [NewBuilder] is a resolver.Builder for grpc.WithResolvers. It works with every
// load-balancing policy of grpc-go; the weft policy of package balancer reads
// more of it.
//
// # What this package does not do
//
// It opens no connection to an endpoint, chooses none, and verifies none. It
// never falls back to DNS.
package resolver
