// Package security answers: who are we, who are they. It makes TLS
// configurations and gRPC credentials from a [Source] of SPIFFE identities.
//
// What holds for every connection made here:
//
//   - TLS 1.3 only, mutual, never plaintext.
//   - The peer's chain is verified on every handshake, resumed ones included,
//     against the bundle of the peer's own trust domain. Bundles of different
//     trust domains are never merged.
//   - A client accepts exactly the SPIFFE ID that is expected of the endpoint it
//     dialled. A server asks an [Authorizer]; without one it accepts the members
//     of its own trust domain. There is no "any peer".
//   - Servers issue no session tickets, clients keep no sessions.
//   - The newest SVID and bundles are read on each handshake, so that a rotation
//     needs no restart. An SVID of ours that has expired is never presented.
//
// Connections that are already open keep the identity they were opened with. A
// [Live] in front of the Source closes those that would not be opened any more; an
// identity that was renewed meanwhile is seen only by a new connection, so whoever
// owns a connection must bound its age to less than the life of an SVID.
//
// The sub-packages are Sources: workload (SPIFFE Workload API), consulca (Consul's
// Connect CA), files (PEM files) and devca (a development CA in the process).
package security
