// Package drill is what the failure drills share, in both their forms: simulated
// (mesh/internal/drills) and real (benchmarks/drills).
//
// A [Ledger] has a line for each request of a drill: when it was due, what became of
// it, the attempts that left the caller, and each time that a server began to work
// on it. [Open] makes requests at a fixed rate, whatever becomes of those before.
// The Check functions are pure: they read a ledger and return what breaks one of
// the invariants that hold in all drills.
//
// [Net] is a network in memory whose hosts can vanish, freeze, refuse, grow slow or
// lose what they answer, for drills in virtual time.
package drill
