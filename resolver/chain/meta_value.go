package chain

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// percent takes "5", "5%" and "0.01 %": 0 to 100 in steps of 0.01.
func percent(to *float64, v string) error {
	f, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(v, "%")), 64)
	if h := f * 100; err != nil || !(f >= 0 && f <= 100) || math.Abs(h-math.Round(h)) > 1e-6 {
		return fmt.Errorf("want a percentage from 0 to 100 in steps of 0.01")
	}
	*to = f
	return nil
}

func span(to *time.Duration, v string, low, high time.Duration) error {
	d, err := time.ParseDuration(v)
	if err != nil || d < low || d > high {
		return fmt.Errorf("want a duration from %v to %v, such as \"250ms\"", low, high)
	}
	*to = d
	return nil
}

func onOff(v string) (bool, error) {
	switch v {
	case "on", "true":
		return true, nil
	case "off", "false":
		return false, nil
	}
	return false, fmt.Errorf("want on or off")
}

// maxList bounds how many values a key may list.
const maxList = 64

// list takes values separated by commas.
func list(to *[]string, v string, check func(string) error) error {
	var out []string
	for part := range strings.SplitSeq(v, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			return fmt.Errorf("want values separated by commas, none of them empty")
		}
		if check != nil {
			if err := check(part); err != nil {
				return err
			}
		}
		out = append(out, part)
	}
	if len(out) > maxList {
		return fmt.Errorf("%d values, at most %d", len(out), maxList)
	}
	*to = out
	return nil
}

// places takes a list of allowed places. One that cannot be read has no place in it.
func places(to *[]string, v string) error {
	if err := list(to, v, nil); err != nil {
		*to = []string{""}
		return fmt.Errorf("%w; nothing is allowed until it is right", err)
	}
	return nil
}

func (f *Fault) abort(v string) error {
	n, err := strconv.Atoi(v)
	switch {
	case err == nil && n >= 1 && n <= 16:
		f.Code, f.Status = n, 0
	case err == nil && n >= 400 && n <= 599:
		f.Code, f.Status = 0, n
	default:
		return fmt.Errorf("want a gRPC status code, 1 to 16, or an HTTP status, 400 to 599")
	}
	return nil
}

// parse takes "on" (after the live p95), "off", or a delay.
func (h *Hedge) parse(v string) error {
	if on, err := onOff(v); err == nil {
		h.Enabled, h.Delay = on, 0
		return nil
	}
	var d time.Duration
	if err := span(&d, v, time.Millisecond, time.Minute); err != nil {
		return fmt.Errorf("want on, off, or a delay from 1ms to 1m")
	}
	h.Enabled, h.Delay = true, d
	return nil
}
