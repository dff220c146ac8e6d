//go:build race

package mesh

// raceEnabled: allocation counts are not those of a normal build.
const raceEnabled = true
