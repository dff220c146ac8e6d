//go:build !unix

package contest

import (
	"errors"
	"time"
)

func ownCPU() (time.Duration, error) {
	return 0, errors.New("contest: the processor time of a process is measured on Unix only")
}
