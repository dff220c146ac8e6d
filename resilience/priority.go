package resilience

// PriorityKey is the gRPC metadata key and HTTP header that carries a call's
// class: "critical_plus", "critical", "sheddable_plus" or "sheddable". Anything
// else, and none, is the default class, critical.
const PriorityKey = "weft-priority"

// ParsePriority reads a value of PriorityKey. ok is false for an unknown one,
// which counts as Critical.
func ParsePriority(s string) (p Priority, ok bool) {
	switch s {
	case "critical":
		return Critical, true
	case "critical_plus":
		return CriticalPlus, true
	case "sheddable_plus":
		return SheddablePlus, true
	case "sheddable":
		return Sheddable, true
	}
	return Critical, false
}
