// Package consul is the catalog over Consul.
//
// One [Catalog] is one cloud: a Consul cluster of its own (Config.Address), a
// datacenter that is WAN-federated with the cluster behind Address
// (Config.Datacenter), or a cluster peer (Config.Peer). Make one per cloud and
// join them with [resolver.Merge], so that they fail apart:
//
//	aws, err := consul.New(consul.Config{Name: "aws"})
//	gcp, err := consul.New(consul.Config{Name: "gcp", Datacenter: "gcp"})
//	catalog, err := resolver.Merge(resolver.Source{Name: "aws", Catalog: aws}, …)
//
// What Config leaves empty comes from the environment that Consul's own tools
// read, CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN, CONSUL_CACERT and so on.
//
// # Watching
//
// Each service that somebody watches has one blocking query, however many
// watchers it has. Every query asks for merge-central-config, which makes Consul
// answer it from the servers' state and not from the agent's streaming view. The
// streaming view would cost the servers less, but it answers an outage with the
// last list as if it were fresh, and sometimes with an empty one; from the
// servers an error is an error, so that a snapshot that says Known is known.
//
// A list is applied only if its index grew. An index that went backwards is
// confirmed by a read from zero; so is a list that is empty or lost more than
// half of its endpoints. A list that an access rule emptied is not believed at
// all: the snapshot is Unknown or Stale and its Reason says what to grant. While
// Consul cannot be reached, the last list stays, as Stale.
//
// A first change is delivered at once, a storm of changes at a bounded rate. A
// plain HTTP agent serves 200 connections of one address; the catalog uses at
// most Config.MaxConns, and lets watches take turns when there are more. Over
// https all of them share a connection.
//
// # Mapping
//
// An endpoint's address is Service.Address, else Node.Address; with Datacenter
// set, TaggedAddresses.wan comes before both unless Config.LANAddresses is set.
// Region and zone are Service.Locality, else Node.Locality, else the keys
// [MetaRegion] and [MetaZone] of the service's or node's metadata, else
// Config.Locality. The protocol is the service's metadata key [MetaProtocol],
// else "protocol".
//
// Weight and health follow the worst of the instance's checks: passing instances
// have Weights.Passing, warning ones Weights.Warning. A warning weight of 0 means
// no traffic while warning: the endpoint is Critical, like one with a critical
// check, and keeps the weight it has when passing.
//
// A Connect-native instance is expected to prove
// spiffe://<trust domain>/ns/<namespace>/dc/<its datacenter>/svc/<service>. The
// trust domain is the source's own: of the cluster, of the datacenter, or of the
// peer's certificates. Consul does not tell which instances of a peer are native;
// those that [Catalog.Register] announced say so by [MetaNative].
//
// An instance behind a sidecar proxy is reached through it: the endpoint is the
// sidecar, with its address and checks, and is expected to prove the identity of the
// service. As soon as one instance of a service has a sidecar, instances that are
// neither native nor behind one are left out, for they are not in the mesh. In a
// service without any sidecar such an instance is listed and has no expected
// identity. The first list waits up to two seconds for the trust domain.
//
// An instance that makes no sense (port 0, an unknown check status, an id used
// twice on a node, a weight out of range) is left out, counted and named in the
// snapshot; its neighbours are served.
//
// # Filters
//
// [Catalog.Mark] has the endpoints of a service marked by filters, such as those of a
// service-resolver's subsets. They are decided on the whole entry that Consul has of
// an instance, by the rules of its own ?filter=, with each list that is applied: a change
// of a check and the marks by it are in one snapshot. The service's one query stays as it
// is. If a filter reads what central configuration changes of a sidecar (its mode,
// upstreams, mesh gateways, exposed paths, access logs, extensions), each change costs one
// more read, of the sidecars as they were registered, which is what Consul filters. For a
// service without filters nothing is kept.
//
// # Registration
//
// [Catalog.Register] announces an instance through the local agent as
// Connect-native, with a check that turns critical when the process ends, and
// repeats it when the agent lost its state.
//
// # What this package does not do
//
// It does not use mesh gateways and terminating gateways, does not
// hold back a confirmed empty list (see [resolver.Cache]), and reads no config
// entries.
package consul
