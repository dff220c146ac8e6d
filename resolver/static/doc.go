// Package static is the embedded catalog: endpoints from memory or from a file,
// without Consul.
//
// [New] makes a catalog in memory. Change it from code with Set and Remove, or
// let servers of the same process announce themselves with Register:
//
//	cat := static.New(static.Config{Name: "aws"})
//	err := cat.Set("payments", resolver.Endpoint{Addr: "10.0.0.1:9000"})
//
// One catalog is one source, that is, one cloud. Make one per cloud and join
// them with [resolver.Merge] when they shall fail apart; or use one catalog and
// name the cloud in each endpoint's Locality.
//
// # File
//
// [Open] reads a YAML or JSON file and follows its changes. The format:
//
//	services:
//	  payments:
//	    - address: "10.0.0.1:9000"   # required; IPv6 as "[2001:db8::1]:9000"
//	    - address: "10.1.0.1:9000"
//	      id: payments-1             # default: the address
//	      node: vm-7                 # default: none
//	      cloud: aws                 # default: FileConfig.Name
//	      region: eu-west-1
//	      zone: eu-west-1a
//	      weight: 10                 # 1 to 65535, default 1
//	      health: passing            # passing (default), warning or critical
//	      protocol: grpc             # grpc, http, http2 or tcp; default unknown
//	      spiffe_id: spiffe://prod.example/ns/default/dc/aws/svc/payments
//	      tags: [v2, canary]
//	      meta: {version: "2.1"}
//	  audit: []                      # known to have no endpoints
//
// A file that cannot be read, is too large, is not YAML, or has an unknown key
// or a value of the wrong type is refused as a whole; the error names line and
// key. After the first load the last good content then stays in use: snapshots
// become Stale, with the error as Reason. An endpoint whose value makes no sense
// (a port of 0, a weight of 70000, an id used twice) is left out, counted and
// named in its service's snapshot, and its neighbours are served.
//
// A service that is not in the file is known to have no endpoints.
//
// # What this package does not do
//
// It checks no health, and two processes share nothing through it but the file.
package static
