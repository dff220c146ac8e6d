package balancer

// namedPolicies are the policies that a service config can name.
func namedPolicies() map[string]Policy {
	return map[string]Policy{
		"round_robin":   RoundRobin{},
		"random":        Random{},
		"least_request": LeastRequest{},
		"peak_ewma":     PeakEWMA{},
		"ring_hash":     RingHash{},
		"maglev":        Maglev{},
	}
}
