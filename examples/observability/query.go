package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// query is a PromQL expression of a dashboard or an alert.
type query struct{ where, expr string }

// readQueries reads all of them.
func readQueries(dir string) ([]query, error) {
	files, err := filepath.Glob(filepath.Join(dir, "dashboards", "*.json"))
	if err != nil {
		return nil, err
	}
	var all []query
	for _, f := range files {
		var d struct {
			Panels []struct {
				Title   string
				Targets []struct{ Expr string }
			}
		}
		if err := read(f, &d, json.Unmarshal); err != nil {
			return nil, err
		}
		for _, p := range d.Panels {
			for _, t := range p.Targets {
				all = append(all, query{filepath.Base(f) + ": " + p.Title, t.Expr})
			}
		}
	}
	var rules struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	if err := read(filepath.Join(dir, "alerts.yml"), &rules, yaml.Unmarshal); err != nil {
		return nil, err
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			all = append(all, query{"alerts.yml: " + r.Alert, r.Expr})
		}
	}
	return all, nil
}

func read(file string, into any, unmarshal func([]byte, any) error) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := unmarshal(b, into); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// words of PromQL that stand where a metric could.
var words = []string{"by", "without", "on", "ignoring", "group_left", "group_right", "bool", "and", "or", "unless", "offset", "inf", "nan"}

// metricNames are the metrics that an expression reads: names that are neither
// functions, which a parenthesis follows, nor words of the language, nor labels.
func metricNames(expr string) (names []string) {
	for i := 0; i < len(expr); {
		switch c := expr[i]; {
		case c == '{' || c == '[':
			i += skip(expr[i:], c)
		case c == '"' || c == '\'' || c == '`':
			i += quoted(expr[i:])
		case letter(c):
			j := i
			for j < len(expr) && (letter(expr[j]) || expr[j] >= '0' && expr[j] <= '9') {
				j++
			}
			name := expr[i:j]
			rest := strings.TrimLeft(expr[j:], " \n\t")
			i = j
			switch {
			case slices.Contains(words, strings.ToLower(name)):
				if strings.HasPrefix(rest, "(") && !slices.Contains([]string{"and", "or", "unless"}, name) { // a list of labels
					i = len(expr) - len(rest) + strings.IndexByte(rest, ')') + 1
				}
			case strings.HasPrefix(rest, "("), slices.ContainsFunc([]string{"by(", "by ", "without(", "without "}, func(w string) bool { return strings.HasPrefix(rest, w) }):
			default:
				names = append(names, name)
			}
		case c >= '0' && c <= '9':
			for i < len(expr) && (letter(expr[i]) || expr[i] >= '0' && expr[i] <= '9' || expr[i] == '.') {
				i++ // 5m, 1e3
			}
		default:
			i++
		}
	}
	return names
}

func letter(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == ':' || c == '$'
}

// skip is the length of what a bracket encloses, strings in it included.
func skip(s string, open byte) int {
	end := byte('}')
	if open == '[' {
		end = ']'
	}
	for i := 1; i < len(s); {
		switch s[i] {
		case end:
			return i + 1
		case '"', '\'', '`':
			i += quoted(s[i:])
		default:
			i++
		}
	}
	return len(s)
}

func quoted(s string) int {
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && s[0] != '`':
			i++
		case s[i] == s[0]:
			return i + 1
		}
	}
	return len(s)
}
