// Package clocktest moves the wall clock under times, for tests that what
// is measured in time does not follow it.
//
// A [time.Time] of [time.Now] holds both clocks, and differences of two such times
// are of the monotonic one. Its wall part is what a jump of the system's clock moves.
package clocktest

import (
	"reflect"
	"time"
)

// Shift is at as it would be had the wall clock jumped by d, in whole seconds,
// before it was read. It panics if at has no monotonic reading, because there is
// nothing then that a jump does not move.
func Shift(at time.Time, d time.Duration) time.Time {
	moved := at
	// The wall word of a time with a monotonic reading: 1 bit, 33 bits of seconds, 30
	// of nanoseconds.
	word := reflect.ValueOf(&moved).Elem().FieldByName("wall")
	p := (*uint64)(word.Addr().UnsafePointer())
	*p += uint64(d/time.Second) << 30
	if at.Round(0) == at || moved.Sub(at) != 0 || moved.Round(0).Sub(at.Round(0)) != d {
		panic("clocktest: this time has no monotonic reading, or package time has changed")
	}
	return moved
}

// Strip is at without its monotonic reading, as it comes out of a file or a message.
func Strip(at time.Time) time.Time { return at.Round(0) }

// Jumps are those that clocks are tried with.
func Jumps() []time.Duration { return []time.Duration{time.Hour, -time.Hour} }
