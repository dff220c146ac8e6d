// Package chain is the traffic policy of a service: which part of which service
// a request is for, and how the call is made. It evaluates Consul's discovery
// chain (service-router, service-splitter, service-resolver) in the process.
package chain
