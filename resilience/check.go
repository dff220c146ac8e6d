package resilience

import (
	"fmt"
	"math"
	"time"
)

// checks collects what is wrong with a configuration: the first finding wins.
type checks struct{ err error }

func (c *checks) fail(field string, value any, want string) {
	if c.err == nil {
		c.err = fmt.Errorf("resilience: %s is %v; %s", field, value, want)
	}
}

// ratio is in (0,1]; zero becomes def.
func (c *checks) ratio(field string, v *float64, def float64) {
	if *v == 0 {
		*v = def
	}
	if !(*v > 0 && *v <= 1) {
		c.fail(field, *v, fmt.Sprintf("use more than 0 and at most 1, or 0 for %v", def))
	}
}

// number is at least low and finite; zero becomes def.
func (c *checks) number(field string, v *float64, low, def float64) {
	if *v == 0 {
		*v = def
	}
	if !(*v >= low) || math.IsInf(*v, 0) {
		c.fail(field, *v, fmt.Sprintf("use at least %v, or 0 for %v", low, def))
	}
}

// count is at least low; zero becomes def.
func (c *checks) count(field string, v *int, low, def int) {
	if *v == 0 {
		*v = def
	}
	if *v < low {
		c.fail(field, *v, fmt.Sprintf("use at least %d, or 0 for %d", low, def))
	}
}

// span is at least low; zero becomes def.
func (c *checks) span(field string, v *time.Duration, low, def time.Duration) {
	if *v == 0 {
		*v = def
	}
	if *v < low {
		c.fail(field, *v, fmt.Sprintf("use at least %v, or 0 for %v", low, def))
	}
}
