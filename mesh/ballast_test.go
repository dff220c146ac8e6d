package mesh

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// collector is what a process that did nothing but join and leave saw.
type collector struct {
	Setting Setting
	// Goals are how far the heap may grow before the next collection, as a member and
	// after it left; Heaps how much of it counts as in use.
	GoalIn, GoalOut, HeapIn, HeapOut int
	Resident                         int // memory that joining took
}

// aloneEnv has the test binary do what joinAlone does, and nothing else.
const aloneEnv = "WEFT_TEST_BALLAST"

// joinAlone is a process of its own, because others' memory would count.
func joinAlone() error {
	var c collector
	inUse() // so that there is free memory, which the runtime would use for the ballast
	before := resident()
	m, err := Join(context.Background(), Config{Service: "alone"})
	if err != nil {
		return err
	}
	c.Resident = resident() - before
	c.Setting, _ = m.Settings().Get("HeapBallast")
	c.GoalIn, c.HeapIn = inUse()
	if err := m.Leave(context.Background()); err != nil {
		return err
	}
	c.GoalOut, c.HeapOut = inUse()
	return json.NewEncoder(os.Stdout).Encode(c)
}

var sink []byte

// inUse is the collector's goal and what counts as in use, after it has cleaned up.
func inUse() (goal, heap int) {
	for range 4 << 10 {
		sink = make([]byte, 1<<10)
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.NextGC), int(m.HeapAlloc)
}

// resident is this process's own memory, without that of files; 0 where the system does
// not tell.
func resident() int {
	b, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "RssAnon:" {
			kb, _ := strconv.Atoi(f[1])
			return kb << 10
		}
	}
	return 0
}

// It counts as in use while the process is a member, takes no memory by itself, and its
// default yields to who has tuned the collector.
func TestBallast(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		env   []string
		bytes int
		from  Origin
	}{
		"default":       {nil, 4 << 20, FromDefault},
		"large":         {[]string{"WEFT_HEAP_BALLAST=64MiB"}, 64 << 20, FromEnvironment},
		"off":           {[]string{"WEFT_HEAP_BALLAST=off"}, 0, FromEnvironment},
		"GOGC":          {[]string{"GOGC=90"}, 0, FromDefault},
		"GOMEMLIMIT":    {[]string{"GOMEMLIMIT=1GiB"}, 0, FromDefault},
		"GOGC and size": {[]string{"GOGC=90", "WEFT_HEAP_BALLAST=4MiB"}, 4 << 20, FromEnvironment},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			var errs bytes.Buffer
			cmd.Stderr = &errs
			for _, v := range os.Environ() {
				if !strings.HasPrefix(v, "GO") && !strings.HasPrefix(v, "WEFT_") && !strings.HasPrefix(v, "CONSUL_") && !strings.HasPrefix(v, "SPIFFE_") {
					cmd.Env = append(cmd.Env, v)
				}
			}
			cmd.Env = append(append(cmd.Env, aloneEnv+"=1"), tt.env...)
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v: %s%s", err, out, &errs)
			}
			var c collector
			if err := json.Unmarshal(out, &c); err != nil {
				t.Fatal(err)
			}
			want := strconv.Itoa(tt.bytes)
			if tt.bytes == 0 {
				want = "off"
			}
			if c.Setting.Value != want || c.Setting.Origin != tt.from {
				t.Errorf("HeapBallast is %s from %s, want %s from %s", c.Setting.Value, c.Setting.Origin, want, tt.from)
			}
			// Each byte counts twice before the next collection, with GOGC=100.
			if c.HeapIn-c.HeapOut < tt.bytes || c.GoalIn < 2*tt.bytes && len(tt.env) < 2 {
				t.Errorf("%+v, want %d bytes more in use as a member", c, tt.bytes)
			}
			if limit := max(tt.bytes, 1) + 4<<20; c.HeapIn-c.HeapOut >= limit || c.GoalOut > 16<<20 {
				t.Errorf("%+v, want less than %d bytes more in use as a member", c, limit)
			}
			if c.Resident > 16<<20 {
				t.Errorf("joining took %d bytes of memory", c.Resident)
			}
		})
	}
}

// Members of one process share it, and the last one takes it away.
func TestBallastIsShared(t *testing.T) {
	t.Parallel()
	var b ballast
	first, second, none := b.hold(1<<10), b.hold(1<<12), b.hold(0)
	if len(b.mem) != 1<<12 {
		t.Errorf("%d bytes", len(b.mem))
	}
	none()
	second()
	third := b.hold(1 << 11)
	if first(); len(b.mem) != 1<<12 {
		t.Errorf("%d bytes while one still holds it", len(b.mem))
	}
	if third(); b.mem != nil {
		t.Errorf("%d bytes and nobody holds it", len(b.mem))
	}
}
