//go:build !unix

package consultest

import (
	"errors"
	"os"
	"syscall"
)

var errNoSignals = errors.New("consultest: this system cannot freeze a process")

func procAttr() *syscall.SysProcAttr { return nil }

func freeze(*os.Process) error { return errNoSignals }
func thaw(*os.Process) error   { return errNoSignals }
