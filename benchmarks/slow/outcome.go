package main

import (
	"slices"
	"time"
)

// outcome is what the calls of one kind came to, over any number of runs.
type outcome struct {
	took       []time.Duration // an error took the whole deadline
	errors     int
	early      int   // errors of the time before
	firstError error // nil: none
	slow, all  int   // calls that reached the slow replica, and any
}

func (o *outcome) add(p outcome) {
	o.took = append(o.took, p.took...)
	o.errors, o.early = o.errors+p.errors, o.early+p.early
	o.slow, o.all = o.slow+p.slow, o.all+p.all
	if o.firstError == nil {
		o.firstError = p.firstError
	}
}

// quantile sorts.
func (o *outcome) quantile(q float64) time.Duration {
	if len(o.took) == 0 {
		return 0
	}
	slices.Sort(o.took)
	return o.took[min(int(q*float64(len(o.took))), len(o.took)-1)]
}

func (o *outcome) slowShare() float64 { return float64(o.slow) / float64(max(o.all, 1)) }

func (o *outcome) note(early bool, took time.Duration, err error) {
	if err != nil {
		took = deadline
		if o.firstError == nil {
			o.firstError = err
		}
	}
	switch {
	case early && err != nil:
		o.early++
	case early:
	case err != nil:
		o.errors++
		fallthrough
	default:
		o.took = append(o.took, took)
	}
}
