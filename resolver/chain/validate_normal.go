package chain

import (
	"math"
	"slices"
	"strings"
)

// normalized is a copy of e in the form that Consul keeps it in.
func normalized(e Entry) Entry {
	e = cloneEntry(e)
	normalize(e)
	return e
}

func normalize(e Entry) {
	switch e := e.(type) {
	case *ServiceRouter:
		for _, r := range e.Routes {
			if r.Match != nil && r.Match.HTTP != nil {
				for i, m := range r.Match.HTTP.Methods {
					r.Match.HTTP.Methods[i] = strings.ToUpper(m)
				}
			}
		}
	case *ServiceSplitter:
		for i := range e.Splits {
			e.Splits[i].Weight = roundWeight(e.Splits[i].Weight)
		}
	case *ServiceDefaults:
		e.Protocol = strings.ToLower(e.Protocol)
		if e.UpstreamConfig != nil {
			for _, u := range append(slices.Clone(e.UpstreamConfig.Overrides), e.UpstreamConfig.Defaults) {
				if u != nil {
					u.Protocol = strings.ToLower(u.Protocol)
					u.ConnectTimeoutMs = max(u.ConnectTimeoutMs, 0)
				}
			}
		}
	case *ProxyDefaults:
		if e.Name == "" {
			e.Name = "global"
		}
	}
}

// hundredths is a weight in steps of 0.01.
func hundredths(w float32) int { return int(math.Round(float64(w * 100))) }

func roundWeight(w float32) float32 {
	if math.Abs(float64(w)) > 1e9 || w != w {
		return w // refused later
	}
	return float32(hundredths(w)) / 100
}
