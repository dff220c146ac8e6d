package main

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
)

// pick is one line of go test -bench, by the number of endpoints.
type pick struct {
	Endpoints int     `json:"endpoints"`
	Subset    bool    `json:"subset"`
	NS        float64 `json:"ns"`
	Allocs    float64 `json:"allocs"`
}

// picks reads the lines "BenchmarkPick/peak_ewma/1000-subset-2  N  40.1 ns/op  0 B/op
// 0 allocs/op"; the last number of a name is that of the cores.
func picks(out string) (json.RawMessage, error) {
	result := struct {
		Bench string `json:"bench"`
		Picks []pick `json:"picks"`
	}{Bench: "pick"}
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		name := f[0][strings.LastIndexByte(f[0], '/')+1:]
		size, rest, _ := strings.Cut(name, "-")
		n, err := strconv.Atoi(size)
		if err != nil {
			continue
		}
		p := pick{Endpoints: n, Subset: strings.HasPrefix(rest, "subset"), NS: -1, Allocs: -1}
		for i := 2; i+1 < len(f); i += 2 {
			v, err := strconv.ParseFloat(f[i], 64)
			if err != nil {
				break
			}
			switch f[i+1] {
			case "ns/op":
				p.NS = v
			case "allocs/op":
				p.Allocs = v
			}
		}
		if p.NS >= 0 && p.Allocs >= 0 {
			result.Picks = append(result.Picks, p)
		}
	}
	if len(result.Picks) == 0 {
		return nil, errors.New("go test printed no benchmark")
	}
	return json.Marshal(result)
}
