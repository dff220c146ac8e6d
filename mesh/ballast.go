package mesh

import (
	"context"
	"fmt"
	"math"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync"
)

// defaultBallast is as much as the heap that a Go program has before its first
// collection, so a small one collects less than half as often.
const defaultBallast = 4 << 20

// maxBallast is refused above: nobody collects more often than that would help.
const maxBallast = 1 << 30

// ballast is memory that the collector counts as in use and that nobody ever touches, so
// that the system has no page of it: the heap may grow by as much more before the next
// collection. The process has one, as large as the largest that a member asks for; it is
// gone with the last of them.
type ballast struct {
	mu      sync.Mutex
	mem     []byte
	members int
}

var processBallast ballast

// hold is released by the function that it returns.
func (b *ballast) hold(bytes int) (release func()) {
	if bytes <= 0 {
		return func() {}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.members++
	if bytes > len(b.mem) {
		b.mem = make([]byte, bytes)
		releasePages(b.mem)
	}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.members--; b.members == 0 {
			b.mem = nil
		}
	}
}

func (m *Mesh) openBallast() {
	release := processBallast.hold(m.cfg.HeapBallast)
	m.onLeave(func(context.Context) error { release(); return nil })
}

func (r *resolved) resolveBallast() {
	s, n, o := r.settings, r.HeapBallast, FromStruct
	if n == 0 {
		n, o = defaultBallast, FromDefault
		if text := s.getenv("WEFT_HEAP_BALLAST"); text != "" {
			var err error
			if n, err = parseBytes(text); err != nil {
				s.errs = append(s.errs, fmt.Errorf("mesh: WEFT_HEAP_BALLAST=%q is not a size: use bytes, or MiB as in \"8MiB\", or \"off\"", text))
			}
			o = FromEnvironment
		} else if collectorIsTuned() {
			n = 0
		}
	}
	if n > maxBallast {
		s.errs = append(s.errs, fmt.Errorf("mesh: HeapBallast (or WEFT_HEAP_BALLAST) is %d bytes; at most %d (1 GiB) do, and a few MiB are enough", n, maxBallast))
	}
	shown := "off"
	if n > 0 {
		shown = strconv.Itoa(n)
	}
	s.add("HeapBallast", "WEFT_HEAP_BALLAST", shown, o)
	r.HeapBallast = n
}

// parseBytes reads a number of bytes, or of MiB; "off" is 0.
func parseBytes(s string) (int, error) {
	if s == "off" {
		return 0, nil
	}
	number, mega := strings.CutSuffix(s, "MiB")
	n, err := strconv.ParseUint(number, 10, 31)
	if mega {
		n <<= 20
	}
	return int(min(n, math.MaxInt)), err
}

// collectorIsTuned reports whether somebody has set GOGC or a memory limit, in the
// environment or by package runtime/debug: a default must not get in between.
func collectorIsTuned() bool {
	gogc := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(gogc)
	if v := gogc[0].Value; v.Kind() == metrics.KindUint64 && v.Uint64() != 100 {
		return true
	}
	return debug.SetMemoryLimit(-1) != math.MaxInt64
}
