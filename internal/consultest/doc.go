// Package consultest runs real Consul servers for tests, examples and
// benchmarks.
//
// The server is built from Consul's own Go module, pinned with its checksums in
// the nested module consulbin, so that nothing of it reaches the go.mod of the
// users of this library. The first build takes some minutes; the binary is then
// kept per version under the user's cache directory and shared by all
// processes. Consul is under the Business Source License 1.1; running it for
// tests and examples is allowed, and no part of it is distributed here.
//
// [Start] runs one agent on free loopback ports, [Federate] several datacenters
// joined over the WAN. An [Agent] can be killed, frozen and restarted on the
// same ports. Agents die with the process that started them (on Linux even when
// it is killed).
//
// Package ctest is the same for tests, with cleanup and logs on failure.
package consultest
