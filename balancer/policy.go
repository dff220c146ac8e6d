package balancer

import "sync/atomic"

// Set is what a policy chooses from: the nodes of one tier. The slices and
// their order are immutable; the state of the nodes is live.
type Set struct {
	// Nodes are all nodes of the tier that may take traffic, ready or not, sorted
	// by identity. It is the same slice as before (same first element address and
	// length) while neither membership nor weights changed.
	Nodes []*Node
	// Ready are those of Nodes whose connection was ready when the set was made.
	// It lags by a few milliseconds: ask Node.Ready in each pick.
	Ready []*Node

	total *atomic.Int64 // attempts of the Balancer in flight, for bounded loads
	share float64       // of the Balancer's load that goes to this tier
}

// Policy makes pickers. A policy is a value: compare it, print it, copy it.
// Package balancertest checks an implementation.
type Policy interface {
	// NewPicker makes the picker of a set. prev is the picker of the tier's
	// previous set or nil; a policy that derives a table from Set.Nodes may return
	// prev, or share its table, if the nodes are unchanged.
	NewPicker(set Set, prev Picker) Picker
}

// Picker chooses a node of its set, or returns nil if it has none that is ready.
// It is immutable and safe for concurrent use; it takes no lock, does not block
// and does not allocate. It avoids nodes that the call has tried (Call.Tried)
// while another is ready. c is never nil.
type Picker interface {
	Pick(c *Call) *Node
}
