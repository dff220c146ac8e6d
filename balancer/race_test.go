//go:build race

package balancer

// raceEnabled: the detector makes sync.Pool forget at random, which allocates.
const raceEnabled = true
