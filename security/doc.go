// Package security answers: who are we, who are they. It makes TLS
// configurations and gRPC credentials from a [Source] of SPIFFE identities.
//
// TLS 1.3 only. The peer's chain is verified against the bundle of the peer's
// own trust domain on every handshake, resumed ones included; a client accepts
// exactly the SPIFFE ID that is expected of the endpoint it dialled; servers issue
// no session tickets.
package security
