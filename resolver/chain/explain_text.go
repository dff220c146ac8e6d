package chain

import (
	"fmt"
	"strings"
	"time"
)

// String is the explanation for people, a line per step.
func (x Explanation) String() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	r := x.Request
	path := r.Path
	if r.Query != "" {
		path += "?" + r.Query
	}
	line("service %s: %s %s", x.Service, r.Method, path)
	for _, s := range x.Routes {
		if s.Matched {
			line("  route %d: %s: matches", s.Index, s.Match)
		} else {
			line("  route %d: %s: no, %s", s.Index, s.Match, s.Why)
		}
	}
	if x.Others > 0 {
		line("  %d more routes are not looked at", x.Others)
	}
	if x.Splitter != "" {
		line("  splitter %s: %s", x.Splitter, x.How)
		for _, s := range x.Splits {
			mark := " "
			if s.Picked {
				mark = "*"
			}
			line("  %s %s: weight %.2f %%, gets %.2f %%%s", mark, s.Target, s.Weight, s.Share, after(s.Why))
		}
	}
	p := x.Decision.Plan
	switch {
	case p == nil && len(x.Splits) > 0:
		line("  target: one of the above")
		return b.String()
	case p == nil:
		line("  target: none, %s", x.How)
		return b.String()
	}
	line("  target %s%s", p.Target.ID, describeSubset(p.Target))
	for i, t := range p.Failover {
		line("  failover %d: %s%s", i+1, t.ID, describeSubset(t))
	}
	if len(p.Failover) == 0 {
		line("  failover: none")
	}
	if p.Rewrites() {
		line("  path becomes %s", p.Rewrite(r.Path))
	}
	editLines(line, "request", p.RequestEdits)
	editLines(line, "response", p.ResponseEdits)
	if x.Timeout > 0 {
		line("  timeout %v, by %s", x.Timeout, x.TimeoutFrom)
	} else {
		line("  timeout none, %s", x.TimeoutFrom)
	}
	span := func(name string, d time.Duration) {
		if d > 0 {
			line("  %s %v", name, d)
		}
	}
	span("idle timeout", p.IdleTimeout)
	span("connect timeout", p.ConnectTimeout)
	if q := p.Retry; q != nil {
		line("  up to %d attempts, repeated on %s%s", q.Attempts, q.On, codes(q.Codes))
	}
	if lb := p.LoadBalancer; lb != nil && lb.Policy != "" {
		line("  balanced by %s%s", lb.Policy, describeKey(p, x.Decision))
	}
	return b.String()
}

func after(why string) string {
	if why == "" {
		return ""
	}
	return ", " + why
}

func codes(list []uint32) string {
	if len(list) == 0 {
		return ""
	}
	return " " + strings.Trim(strings.Join(strings.Fields(fmt.Sprint(list)), ","), "[]")
}

func editLines(line func(string, ...any), of string, e Edits) {
	for s := range strings.Lines(e.String()) {
		line("  %s header: %s", of, strings.TrimSuffix(s, "\n"))
	}
}

func describeSubset(t *Target) string {
	s := ""
	if t.Subset.Filter != "" {
		s += ", where " + t.Subset.Filter
	}
	if t.Subset.OnlyPassing {
		s += ", passing only"
	}
	return s
}

func describeKey(p *Plan, d Decision) string {
	switch {
	case len(p.hash) == 0:
		return ""
	case d.Cookie != nil:
		return ", by a new cookie " + d.Cookie.Name
	case d.HasHash:
		return fmt.Sprintf(", by key %016x", d.Hash)
	}
	return ", without a key: the request has none of the sources"
}
