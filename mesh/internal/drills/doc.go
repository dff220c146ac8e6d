// Package drills is the simulated form of the failure drills: members of a mesh,
// real gRPC, HTTP and mutual TLS, over a network in memory and in virtual time. It
// has tests only; internal/drill has what they share with the drills' real form.
//
// Each test is a drill: a fault, a load at a fixed rate, and what is promised of
// it. The invariants are checked in all of them. Where a mechanism is what keeps
// the promise, a twin of the drill runs without it and must break it.
//
// WEFT_SEED=n replays the network's and the load's random choices; the balancer's
// are its own.
package drills
