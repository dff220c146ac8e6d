package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/weft-mesh/weft/internal/drill"
)

// promise notes a figure and whether it is as promised.
func (s *stage) promise(kept bool, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.figures = append(s.figures, text)
	if !kept {
		s.broken = append(s.broken, errors.New(text))
	}
}

func (s *stage) within(what string, d, most time.Duration) {
	said := d.Round(10 * time.Millisecond).String()
	if d < 0 {
		said = "never"
	}
	s.promise(d >= 0 && d <= most, "%s %s (%v)", what, said, most)
}

func (s *stage) succeed(what string, reqs []drill.Request, share float64) {
	err := drill.CheckSuccess(what, reqs, share)
	s.promise(err == nil, "%s %.2f %% of %d (%.2f %%)", what, 100*drill.Success(reqs), len(reqs), 100*share)
	if err != nil {
		s.broken = append(s.broken, err)
	}
}
