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
// A client of two clouds that survives the loss of either catalog, and its own
// restart meanwhile:
//
//	aws, err := resolver.NewCache(awsCatalog, resolver.CacheConfig{Name: "aws", Dir: dir})
//	gcp, err := resolver.NewCache(gcpCatalog, resolver.CacheConfig{Name: "gcp", Dir: dir})
//	all, err := resolver.Merge(
//		resolver.Source{Name: "aws", Catalog: aws},
//		resolver.Source{Name: "gcp", Catalog: gcp},
//	)
//	conn, err := grpc.NewClient("mesh:///payments",
//		grpc.WithResolvers(resolver.NewBuilder(all, resolver.BuilderConfig{})), ...)
//
// A source may know more of an instance than an [Endpoint] carries. A [Marker] tells by
// all of it which endpoints a filter selects: [Endpoint.Marked].
//
// # gRPC
//
// [NewBuilder] is a resolver.Builder for grpc.WithResolvers. It works with the
// load-balancing policies of grpc-go that read endpoints, as all of its own do; the
// weft policy of package balancer reads more of it.
//
// # HTTP
//
// [ServiceOf] reads the service from the host of a URL: http://payments/items/7.
//
// # Events
//
// A Cache logs one event per change of state: registry.connected, registry.lost,
// registry.stale, registry.empty_held, registry.mass_removal_held,
// registry.hold_ended, registry.snapshot_loaded, registry.snapshot_ignored and
// registry.snapshot_failed.
//
// # What this package does not do
//
// It opens no connection to an endpoint, chooses none, and verifies none. It
// never falls back to DNS.
package resolver
