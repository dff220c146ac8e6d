package main

import "testing"

func TestParse(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]int{"1": 1, "1, 500": 2, "": 0, "0": 0, "x": 0, "1,9999": 0} {
		counts, err := parse(list)
		if len(counts) != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %v, %v", list, counts, err)
		}
	}
}
