//go:build race

package chain

// raceEnabled: allocation counts are not those of a normal build.
const raceEnabled = true
