package main

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
)

// measured is one line that go test -bench prints.
type measured struct {
	name       string // without Benchmark and the number of cores
	ns, allocs float64
}

// benchLines reads lines such as "BenchmarkPick/peak_ewma/1000-subset-2  N  40.1 ns/op
// 0 B/op  0 allocs/op"; the last number of a name is that of the cores.
func benchLines(out string) (list []measured, err error) {
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		m := measured{name: strings.TrimPrefix(f[0], "Benchmark"), ns: -1, allocs: -1}
		if i := strings.LastIndexByte(m.name, '-'); i > 0 {
			m.name = m.name[:i]
		}
		for i := 2; i+1 < len(f); i += 2 {
			v, err := strconv.ParseFloat(f[i], 64)
			if err != nil {
				break
			}
			switch f[i+1] {
			case "ns/op":
				m.ns = v
			case "allocs/op":
				m.allocs = v
			}
		}
		if m.ns >= 0 && m.allocs >= 0 {
			list = append(list, m)
		}
	}
	if len(list) == 0 {
		return nil, errors.New("go test printed no benchmark")
	}
	return list, nil
}

// pick is one of BenchmarkPick, by the number of endpoints.
type pick struct {
	Endpoints int     `json:"endpoints"`
	Subset    bool    `json:"subset"`
	NS        float64 `json:"ns"`
	Allocs    float64 `json:"allocs"`
}

func picks(out string) (json.RawMessage, error) {
	result := struct {
		Bench string `json:"bench"`
		Picks []pick `json:"picks"`
	}{Bench: "pick"}
	lines, err := benchLines(out)
	if err != nil {
		return nil, err
	}
	for _, m := range lines {
		size, rest, _ := strings.Cut(m.name[strings.LastIndexByte(m.name, '/')+1:], "-")
		n, err := strconv.Atoi(size)
		if err != nil {
			continue
		}
		result.Picks = append(result.Picks, pick{n, rest == "subset", m.ns, m.allocs})
	}
	return json.Marshal(result)
}

// meters has the median time of each benchmark, and the most allocations.
func meters(out string) (json.RawMessage, error) {
	lines, err := benchLines(out)
	if err != nil {
		return nil, err
	}
	type cost struct {
		NS     float64 `json:"ns"`
		Allocs float64 `json:"allocs"`
	}
	times, costs := map[string][]float64{}, map[string]cost{}
	for _, m := range lines {
		name := strings.ToLower(m.name)
		times[name] = append(times[name], m.ns)
		slices.Sort(times[name])
		costs[name] = cost{times[name][len(times[name])/2], max(costs[name].Allocs, m.allocs)}
	}
	return json.Marshal(map[string]any{"bench": "meter", "costs": costs})
}
