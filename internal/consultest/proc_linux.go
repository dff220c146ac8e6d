package consultest

import (
	"os"
	"syscall"
)

// procAttr makes the agent die with us, and keeps a terminal's interrupt away
// from it: its owner decides when it ends.
func procAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

func freeze(p *os.Process) error { return p.Signal(syscall.SIGSTOP) }
func thaw(p *os.Process) error   { return p.Signal(syscall.SIGCONT) }
