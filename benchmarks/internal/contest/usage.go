package contest

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Usage is what a process has used since it began; RSS is of now.
type Usage struct {
	Mallocs, Bytes uint64
	CPU            time.Duration
	RSS            int64
}

func (u Usage) since(o Usage) Usage {
	return Usage{u.Mallocs - o.Mallocs, u.Bytes - o.Bytes, u.CPU - o.CPU, u.RSS}
}

// ownUsage is of this process.
func ownUsage() (u Usage, err error) {
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	u.Mallocs, u.Bytes = mem.Mallocs, mem.TotalAlloc
	if u.CPU, err = ownCPU(); err != nil {
		return u, err
	}
	u.RSS, err = resident(os.Getpid())
	return u, err
}

// otherUsage is what the system knows of another process: no allocations, and
// processor time in steps of 10 ms.
func otherUsage(pid int) (u Usage, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // a name may have blanks
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return u, fmt.Errorf("contest: /proc/%d/stat has %d fields", pid, len(fields))
	}
	for _, f := range fields[11:13] { // utime, stime
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return u, fmt.Errorf("contest: /proc/%d/stat: %w", pid, err)
		}
		u.CPU += time.Duration(n) * 10 * time.Millisecond
	}
	u.RSS, err = resident(pid)
	return u, err
}

// resident is the memory of a process; 0 where the system does not tell.
func resident(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if os.IsNotExist(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "VmRSS:" {
			kb, err := strconv.ParseInt(f[1], 10, 64)
			return kb << 10, err
		}
	}
	return 0, nil
}
