//go:build unix && !linux

package consultest

import (
	"os"
	"syscall"
)

func procAttr() *syscall.SysProcAttr { return nil }

func freeze(p *os.Process) error { return p.Signal(syscall.SIGSTOP) }
func thaw(p *os.Process) error   { return p.Signal(syscall.SIGCONT) }
