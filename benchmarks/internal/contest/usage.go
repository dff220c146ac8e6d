package contest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Usage is what a process has used since it began; RSS and Private are of now.
type Usage struct {
	Mallocs, Bytes uint64
	CPU            time.Duration
	RSS            int64
	Private        int64 // of RSS, what is not pages of files: heap and stacks
}

func (u Usage) since(o Usage) Usage {
	return Usage{u.Mallocs - o.Mallocs, u.Bytes - o.Bytes, u.CPU - o.CPU, u.RSS, u.Private}
}

func (u Usage) plus(o Usage) Usage {
	return Usage{u.Mallocs + o.Mallocs, u.Bytes + o.Bytes, u.CPU + o.CPU, u.RSS + o.RSS, u.Private + o.Private}
}

// ownUsage is of this process.
func ownUsage() (u Usage, err error) {
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	u.Mallocs, u.Bytes = mem.Mallocs, mem.TotalAlloc
	if u.CPU, err = ownCPU(); err != nil {
		return u, err
	}
	u.RSS, u.Private, err = resident(os.Getpid())
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
	u.RSS, u.Private, err = resident(pid)
	return u, err
}

// resident is the memory of a process; 0 where the system does not tell.
func resident(pid int) (all, private int64, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if os.IsNotExist(err) {
		return 0, 0, nil
	}
	for line := range strings.Lines(string(status)) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "VmRSS:" && f[0] != "RssAnon:" {
			continue
		}
		kb, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("contest: /proc/%d/status: %w", pid, err)
		}
		if f[0] == "VmRSS:" {
			all = kb << 10
		} else {
			private = kb << 10
		}
	}
	return all, private, err
}

// Expvar reads what a Go process publishes of its allocations at an address.
func Expvar(ctx context.Context, addr string) (mallocs, bytes uint64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/debug/vars", nil)
	if err != nil {
		return 0, 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	var vars struct {
		Memstats struct{ Mallocs, TotalAlloc uint64 }
	}
	if err := json.NewDecoder(resp.Body).Decode(&vars); err != nil {
		return 0, 0, fmt.Errorf("contest: http://%s/debug/vars: %w", addr, err)
	}
	return vars.Memstats.Mallocs, vars.Memstats.TotalAlloc, nil
}
