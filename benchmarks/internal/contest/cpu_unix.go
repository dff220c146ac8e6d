//go:build unix

package contest

import (
	"syscall"
	"time"
)

// ownCPU is the processor time of this process.
func ownCPU() (time.Duration, error) {
	var r syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano()), err
}
