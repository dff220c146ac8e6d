package chain

import "sync/atomic"

// Switch makes one subset of a splitter take all traffic: blue-green. It may be set
// at any time; each call sees the state before or after.
type Switch struct{ subset atomic.Pointer[string] }

// Set lets the branch with that subset take all traffic, whatever its weight; empty:
// the weights hold again. A subset that no branch has changes nothing.
func (s *Switch) Set(subset string) { s.subset.Store(&subset) }

// Subset is what Set was given last.
func (s *Switch) Subset() string {
	if p := s.subset.Load(); p != nil {
		return *p
	}
	return ""
}
