package chain

import "time"

// GuardConfig says whom a Guard tells.
type GuardConfig struct {
	// OnEvent is told what happens, without a lock held, on the goroutine of a call;
	// it must not block. nil: nobody.
	OnEvent func(GuardEvent)
}

// GuardKind is what a GuardEvent tells.
type GuardKind uint8

const (
	// TakenOut: the branch gets no calls until Until.
	TakenOut GuardKind = iota
	// Returning: the branch gets a tenth of its share, and more over the hold time.
	Returning
	// Restored: the branch has its whole share again.
	Restored
)

// String is "taken out", "returning" or "restored".
func (k GuardKind) String() string {
	switch k {
	case TakenOut:
		return "taken out"
	case Returning:
		return "returning"
	}
	return "restored"
}

// GuardEvent is a change of a branch.
type GuardEvent struct {
	// Kind is what happened.
	Kind GuardKind
	// Service is the called service, Splitter the name of the splitter's node in its
	// chain, Target the ID of the branch's target.
	Service  string
	Splitter string
	Target   string
	// Reason says what was breached, with the numbers; of TakenOut only.
	Reason string
	// Until is when a branch that was taken out begins to return.
	Until time.Time
}

// GuardStatus is how a branch stands.
type GuardStatus struct {
	// Service, Splitter and Target are those of GuardEvent.
	Service, Splitter, Target string
	// Share is how much of its weight the branch gets, from 0 to 1.
	Share float64
	// Baseline means that it is what the others of the splitter are compared with.
	Baseline bool
}
