// Package scene is the stage of the examples: it makes calls, counts where they
// went, and shows it.
package scene

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// Board counts calls by kind (a column) and cloud (a row).
type Board struct {
	// Rows is what a row is. Empty: "cloud".
	Rows string

	kinds, clouds []string

	mu        sync.Mutex
	cells     map[[2]string]*cell
	calls     int
	failed    int
	lastFail  time.Time // the end of the newest failed call
	marked    string    // the cloud of Mark
	elsewhere time.Time // the first answer of another cloud after Mark
	lastErr   error
	lines     int // drawn on the terminal and to be redrawn
}

type cell struct {
	total  int
	recent []time.Time // of the last window
}

// window is what the table's bars show.
const window = time.Second

// NewBoard makes a board with a column for each kind and a row for each cloud.
func NewBoard(kinds, clouds []string) *Board {
	b := &Board{kinds: kinds, clouds: clouds, cells: map[[2]string]*cell{}}
	for _, k := range kinds {
		for _, c := range clouds {
			b.cells[[2]string{k, c}] = &cell{}
		}
	}
	return b
}

// Answered counts a call that cloud answered.
func (b *Board) Answered(kind, cloud string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	c := b.cells[[2]string{kind, cloud}]
	if c == nil {
		b.failed++
		b.lastErr = fmt.Errorf("a call of kind %q was answered by cloud %q, which nobody started", kind, cloud)
		return
	}
	now := time.Now()
	if b.marked != "" && b.marked != cloud && b.elsewhere.IsZero() {
		b.elsewhere = now
	}
	c.total++
	c.recent = append(trim(c.recent, now), now)
}

// Failed counts a call that failed.
func (b *Board) Failed(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	b.failed++
	b.lastFail, b.lastErr = time.Now(), err
}

// Totals are all calls and those that failed.
func (b *Board) Totals() (calls, failed int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.calls, b.failed
}

// Mark begins to wait for the first answer that is not of cloud.
func (b *Board) Mark(cloud string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.marked, b.elsewhere = cloud, time.Time{}
}

// Moved is when calls had moved away from the marked cloud: the first answer of
// another one, or the newest failed call if that was later.
func (b *Board) Moved() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lastFail.After(b.elsewhere) {
		return b.lastFail
	}
	return b.elsewhere
}

// LastError is why the newest failed call failed; nil if none did.
func (b *Board) LastError() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lastErr
}

// Share is the part of the calls of the last window that went to cloud, of any
// kind, and how many calls that window has.
func (b *Board) Share(cloud string) (share float64, calls int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now, mine := time.Now(), 0
	for k, c := range b.cells {
		c.recent = trim(c.recent, now)
		calls += len(c.recent)
		if k[1] == cloud {
			mine += len(c.recent)
		}
	}
	if calls == 0 {
		return 0, 0
	}
	return float64(mine) / float64(calls), calls
}

func trim(times []time.Time, now time.Time) []time.Time {
	i, _ := slices.BinarySearchFunc(times, now.Add(-window), time.Time.Compare)
	return slices.Delete(times, 0, i)
}

// table is the board as text: totals, and a bar for the last window.
func (b *Board) table() string {
	var s strings.Builder
	fmt.Fprintf(&s, "    %-8s", cmp.Or(b.Rows, "cloud"))
	for _, k := range b.kinds {
		fmt.Fprintf(&s, "%14s", k)
	}
	s.WriteString("   last second\n")
	for _, cloud := range b.clouds {
		share, _ := b.Share(cloud)
		fmt.Fprintf(&s, "    %-8s", cloud)
		for _, k := range b.kinds {
			b.mu.Lock()
			fmt.Fprintf(&s, "%14d", b.cells[[2]string{k, cloud}].total)
			b.mu.Unlock()
		}
		bar := int(share*30 + 0.5)
		fmt.Fprintf(&s, "   %s%s %3.0f %%\n", strings.Repeat("█", bar), strings.Repeat("·", 30-bar), share*100)
	}
	return s.String()
}

// Draw writes the table; live overwrites the one drawn before it.
func (b *Board) Draw(w io.Writer, live bool) {
	t := b.table()
	b.mu.Lock()
	defer b.mu.Unlock()
	if live && b.lines > 0 {
		fmt.Fprintf(w, "\x1b[%dA", b.lines)
	}
	io.WriteString(w, t)
	b.lines = strings.Count(t, "\n")
}

// Still ends the live table: the next one is drawn below.
func (b *Board) Still() {
	b.mu.Lock()
	b.lines = 0
	b.mu.Unlock()
}
