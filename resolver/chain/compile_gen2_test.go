package chain

import "cmp"

// splitter leads mostly to later services, so that circles are rare.
func (g *generator) splitter(name string, later []string) tree {
	m := g.entry(KindServiceSplitter, name)
	n := 1 + g.IntN(4)
	left := 10000
	var splits []any
	seen := map[string]bool{}
	for i := range n {
		w := left
		if i < n-1 {
			w = g.IntN(left + 1)
		}
		left -= w
		if g.chance(1) {
			w += 2
		}
		s := tree{"Weight": float64(w) / 100}
		service, subset := "", ""
		for range 6 { // until it leads to another place than those before
			switch {
			case g.chance(5):
				service = g.service()
			case len(later) > 0 && g.chance(70):
				service = pick(g, later...)
			}
			subset = g.subset(service, name)
			if !seen[cmp.Or(service, name)+"/"+subset] {
				break
			}
		}
		seen[cmp.Or(service, name)+"/"+subset] = true
		g.put(s, "Service", service)
		g.put(s, "ServiceSubset", subset)
		// Whole ones, since Consul fails on merging others: see TestMergeHeaders.
		if g.chance(25) {
			g.put(s, "RequestHeaders", g.headers(true))
		}
		if g.chance(25) {
			g.put(s, "ResponseHeaders", g.headers(true))
		}
		if g.chance(2) {
			s[pick(g, "Namespace", "Partition")] = pick(g, "default", "other")
		}
		splits = append(splits, s)
	}
	if g.chance(1) {
		splits = nil
	}
	m["Splits"] = splits
	return m
}

func (g *generator) resolver(name string) tree {
	m := g.entry(KindServiceResolver, name)
	if list := g.subsets[name]; len(list) > 0 && !g.chance(2) {
		subsets := tree{}
		for _, s := range list {
			subsets[s] = g.subsetOf()
		}
		if g.chance(1) {
			subsets[pick(g, "V3", "a.b", "-x", "")] = tree{}
		}
		m["Subsets"] = subsets
		if g.chance(30) {
			g.put(m, "DefaultSubset", g.subset(name, name))
		}
	}
	switch {
	case g.chance(20):
		m["Redirect"] = g.target(true, name)
		if g.chance(5) {
			m["Failover"] = tree{"*": g.failover(name)}
		}
	case g.chance(45):
		m["Failover"] = tree{cmp.Or(g.subset(name, name), "*"): g.failover(name)}
		if g.chance(20) {
			m["Failover"].(tree)["*"] = g.failover(name)
		}
	}
	if g.chance(25) {
		g.put(m, "ConnectTimeout", pick[any](g, g.duration(), g.duration(), g.duration(), g.duration(), g.duration(), g.duration(), g.duration(), g.duration(), "-1s", "0s"))
	}
	if g.chance(20) {
		g.put(m, "RequestTimeout", pick[any](g, g.duration(), g.duration(), g.duration(), g.duration(), g.duration(), g.duration(), g.duration(), g.duration(), g.duration(), -5))
	}
	if g.chance(30) {
		g.put(m, "LoadBalancer", g.loadBalancer())
	}
	return m
}

func (g *generator) subsetOf() tree {
	s := tree{}
	g.put(s, "Filter", pick(g, "", `Service.Meta.version == "1"`, `"blue" in Service.Tags and not (Service.Port is empty)`,
		`Service.Meta.version matches "^v[0-9]"`, `Service.Meta.version = 1`))
	if s["Filter"] == `Service.Meta.version = 1` && !g.chance(5) {
		delete(s, "Filter")
	}
	g.put(s, "OnlyPassing", g.chance(30))
	return s
}

// target is where a redirect or a failover goes.
func (g *generator) target(redirect bool, name string) tree {
	t := tree{}
	service := g.service()
	g.put(t, "Service", service)
	switch {
	case g.chance(25):
		g.put(t, "ServiceSubset", g.subset(service, name))
	case g.chance(25):
		g.put(t, "Datacenter", pick(g, "dc1", "dc2", "dc3"))
	case g.chance(30):
		g.put(t, "Peer", pick(g, "gcp", "azure"))
	}
	if g.chance(1) {
		g.put(t, pick(g, "Namespace", "Partition", "Peer", "Datacenter", "ServiceSubset"), "other")
	}
	if redirect && g.chance(1) {
		g.put(t, "SamenessGroup", "group")
	}
	return t
}

func (g *generator) failover(name string) tree {
	f := tree{}
	if g.chance(50) {
		var targets []any
		for range 1 + g.IntN(3) {
			targets = append(targets, g.target(false, name))
		}
		f["Targets"] = targets
		if !g.chance(2) {
			return f
		}
	}
	if g.chance(60) {
		f["Datacenters"] = pick[any](g, []any{"dc2"}, []any{"dc1", "dc2", "dc3"}, "dc3", []any{"dc3"}, []any{"dc1", "dc3"}, []any{"dc2", "dc1"}, []any{"dc2", ""}, []any{"dc3", "dc2"})
	}
	service := ""
	if g.chance(50) {
		service = g.service()
		g.put(f, "Service", service)
	}
	g.put(f, "ServiceSubset", g.subset(service, name))
	if g.chance(3) {
		f["Policy"] = pick(g, tree{}, tree{"Regions": []any{"eu"}}, tree{"Mode": "sequential"})
	}
	return f
}

func (g *generator) loadBalancer() tree {
	lb := tree{}
	policy := pick(g, "", "random", "round_robin", "least_request", "ring_hash", "ring_hash", "maglev", "maglev")
	if g.chance(1) {
		policy = "best"
	}
	g.put(lb, "Policy", policy)
	if policy == "ring_hash" || g.chance(1) {
		c := tree{}
		g.put(c, "MinimumRingSize", 64)
		g.put(c, "MaximumRingSize", 1024)
		g.put(lb, "RingHashConfig", c)
	}
	if policy == "least_request" || g.chance(1) {
		c := tree{}
		g.put(c, "ChoiceCount", 3)
		g.put(lb, "LeastRequestConfig", c)
	}
	if policy == "ring_hash" || policy == "maglev" || g.chance(1) {
		var list []any
		for range g.IntN(3) {
			h := tree{}
			switch g.IntN(4) {
			case 0:
				g.put(h, "SourceIP", true)
			case 1:
				h["Field"] = "cookie"
				g.put(h, "FieldValue", "session")
				c := tree{"TTL": g.duration(), "Path": "/"}
				if g.chance(50) {
					c = tree{"Session": true}
				}
				g.put(h, "CookieConfig", c)
			default:
				h["Field"] = pick(g, "header", "query_parameter")
				g.put(h, "FieldValue", "x-user")
			}
			g.put(h, "Terminal", g.chance(30))
			if g.chance(4) {
				g.put(h, pick(g, "SourceIP", "FieldValue", "Field"), pick[any](g, true, "x", "header"))
			}
			list = append(list, h)
		}
		g.put(lb, "HashPolicies", list)
	}
	return lb
}
