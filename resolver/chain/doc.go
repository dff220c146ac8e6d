// Package chain is the traffic policy of a service: which part of which service
// a request is for, and how the call is made. It evaluates Consul's discovery
// chain (service-router, service-splitter, service-resolver) in the process.
//
// # Entries
//
// Without a Consul, [Load] reads config entries from files, [Open] follows them,
// and a [EntrySet] of them compiles the [Chain] of a service. Entries are those of
// Consul: service-router, service-splitter, service-resolver, service-defaults and
// proxy-defaults, as JSON, YAML or HCL, with keys and durations in all the ways in
// which Consul takes them:
//
//	set, err := chain.Load("consul/")          // *.json, *.yaml, *.yml, *.hcl
//	c, err := set.Compile("web", chain.CompileConfig{})
//
// An entry that is malformed, contradicts itself or does not go with the others is
// an [EntryError] with its kind, name and field. What is understood but has no
// effect here, such as a setting of Envoy, and each field that is not known, is a
// [Problem]: the rest of the entry is in force.
//
// # Differences with Consul
//
// Which entries are accepted, and what is compiled of them, is compared with a real
// Consul (1.21, community edition) in the tests, for thousands of random sets. The
// differences that there are on purpose:
//
//   - A field that is not known is a Problem; Consul refuses the entry. The entry may
//     come from a newer Consul, as Contains and IgnoreCase of a header match do.
//   - Namespace and Partition may be "default", as Consul Enterprise writes them.
//   - A regular expression that is not one of RE2 is refused; Consul accepts it, and
//     leaves it to Envoy.
//   - A MeshGateway.Mode that does not exist, a name that no service can have, a weight
//     that is not in 0..100, and a fraction or negative number where a count is needed
//     are refused; Consul accepts them.
//   - MutualTLSMode "permissive" is refused; Consul accepts it if its mesh entry says so.
//   - EnvoyExtensions and AccessLogs are Problems, and are not looked into.
//   - [NewEntrySet] and [Load] look at all entries at once. In Consul entries are written one
//     after the other, and each must be good with those before it, as in [EntrySet.With].
//   - Where splitters lead to splitters that lead to splitters, weights are rounded from
//     the last on. Consul rounds in any order, and gives one of several answers.
//   - Header edits of splitters in each other are merged whatever they are. Consul 1.21
//     ends with a panic if the inner ones have an Add or Set and the outer ones have not.
//   - Sizes are bounded: 4 MiB of one file, 4 KiB of a filter or regular expression, 10,000 splits
//     of one node, nesting of 64, and a million steps to compile all chains of a set.
//   - AutoVirtualIPs, ManualVirtualIPs, EnvoyExtensions, TransparentProxy and
//     PrioritizeByLocality are not part of a [Chain].
//
// What Consul does with resolvers of peers is the same here: a redirect or failover to
// a peer takes the resolver of that name in this cluster, if the chain has it.
package chain
