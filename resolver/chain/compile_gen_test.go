package chain

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"strings"
)

// generator makes config entries as a user may write them, some of them wrong. It
// gives the same ones for the same seed.
type generator struct {
	*rand.Rand
	names   []string
	proto   string
	subsets map[string][]string // that the resolvers of the names mostly have
}

type tree = map[string]any

func newGenerator(seed uint64, prefix string) *generator {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 0x77656674)), subsets: map[string][]string{}}
	for i := range 2 + g.IntN(4) {
		name := fmt.Sprintf("%s-%c", prefix, 'a'+i)
		g.names = append(g.names, name)
		g.subsets[name] = []string{"v1", "v2"}[:pick(g, 0, 1, 2)]
	}
	g.proto = pick(g, "http", "http", "http", "http2", "http2", "grpc", "grpc", "GRPC", "tcp")
	return g
}

func (g *generator) chance(percent int) bool { return g.IntN(100) < percent }

func pick[T any](g *generator, of ...T) T { return of[g.IntN(len(of))] }

func (g *generator) name() string { return pick(g, g.names...) }

// service is sometimes empty, mostly one of the set's, and seldom another.
func (g *generator) service() string {
	switch {
	case g.chance(15):
		return ""
	case g.chance(1):
		return g.names[0] + "x"
	}
	return g.name()
}

// subset is mostly one that the service has; of is what stands for an empty name.
func (g *generator) subset(service, of string) string {
	list := g.subsets[cmp.Or(service, of)]
	switch {
	case g.chance(1):
		return "nope"
	case len(list) == 0 || g.chance(50):
		return ""
	}
	return pick(g, list...)
}

// duration is text or nanoseconds.
func (g *generator) duration() any {
	ms := 1 + g.IntN(90_000)
	if g.chance(30) {
		return ms * 1_000_000
	}
	return fmt.Sprintf("%dms", ms)
}

// put sets a key, in one of the ways it can be written. Zero values are left out
// mostly, as people do.
func (g *generator) put(m tree, key string, v any) {
	if (v == "" || v == false || v == 0) && !g.chance(5) {
		return
	}
	alias, ok := aliases[key]
	if ok && g.chance(30) {
		key, alias = alias, key
	}
	delete(m, alias) // one spelling at a time: two are refused
	m[key] = v
}

// aliases are keys that Consul also knows in snake case.
var aliases = map[string]string{
	"PathExact": "path_exact", "PathPrefix": "path_prefix", "PathRegex": "path_regex",
	"CaseInsensitive": "case_insensitive", "QueryParam": "query_param", "ServiceSubset": "service_subset",
	"PrefixRewrite": "prefix_rewrite", "RequestTimeout": "request_timeout", "IdleTimeout": "idle_timeout",
	"NumRetries": "num_retries", "RetryOnConnectFailure": "retry_on_connect_failure", "RetryOn": "retry_on",
	"RetryOnStatusCodes": "retry_on_status_codes", "RequestHeaders": "request_headers",
	"ResponseHeaders": "response_headers", "DefaultSubset": "default_subset", "ConnectTimeout": "connect_timeout",
	"LoadBalancer": "load_balancer", "OnlyPassing": "only_passing", "RingHashConfig": "ring_hash_config",
	"LeastRequestConfig": "least_request_config", "HashPolicies": "hash_policies", "MinimumRingSize": "minimum_ring_size",
	"MaximumRingSize": "maximum_ring_size", "ChoiceCount": "choice_count", "FieldValue": "field_value",
	"CookieConfig": "cookie_config", "SourceIP": "source_ip", "MeshGateway": "mesh_gateway", "ExternalSNI": "external_sni",
	"UpstreamConfig": "upstream_config", "ConnectTimeoutMs": "connect_timeout_ms", "MaxConnections": "max_connections",
	"PassiveHealthCheck": "passive_health_check", "MaxFailures": "max_failures", "Name": "name",
	"MaxEjectionPercent": "max_ejection_percent", "MaxInboundConnections": "max_inbound_connections",
}

// entries are those of one set, in the order in which they are written.
func (g *generator) entries() []tree {
	var all []tree
	for _, name := range g.names {
		if g.chance(90) {
			all = append(all, g.serviceDefaults(name))
		}
	}
	for _, name := range g.names {
		if len(g.subsets[name]) > 0 || g.chance(40) {
			all = append(all, g.resolver(name))
		}
	}
	for i, name := range g.names {
		if g.chance(50) {
			all = append(all, g.splitter(name, g.names[i+1:]))
		}
	}
	for _, name := range g.names {
		if g.chance(30) {
			all = append(all, g.router(name))
		}
	}
	if g.chance(15) { // a second one replaces the first
		all = append(all, g.resolver(g.name()), g.serviceDefaults(g.name()))
	}
	if g.chance(15) {
		g.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	}
	return all
}

func (g *generator) entry(kind, name string) tree {
	m := tree{pick(g, "Kind", "Kind", "kind"): kind}
	g.put(m, "Name", name)
	if g.chance(15) {
		m["Meta"] = tree{"owner": "team", "weft-x": pick[any](g, "1", 2, true)}
	}
	if g.chance(1) {
		m["Meta"] = tree{strings.Repeat("k", pick(g, 128, 129)): strings.Repeat("v", pick(g, 512, 513))}
	}
	return m
}

func (g *generator) serviceDefaults(name string) tree {
	m := g.entry(KindServiceDefaults, name)
	proto := g.proto
	if g.chance(2) {
		proto = pick(g, "", "tcp", "http", "grpc", "smtp")
	}
	g.put(m, "Protocol", proto)
	if g.chance(20) {
		g.put(m, "MeshGateway", tree{"Mode": pick(g, "none", "local", "remote", "")})
	}
	if g.chance(4) {
		g.put(m, "ExternalSNI", "outside.example")
	}
	if g.chance(20) {
		up := tree{}
		g.put(up, "ConnectTimeoutMs", pick(g, 500, -3))
		limits := tree{}
		g.put(limits, "MaxConnections", pick(g, 7, 0, 20, 50, 5, 9, 3, 2, -1))
		up["Limits"] = limits
		check := tree{"Interval": g.duration()}
		g.put(check, "MaxFailures", pick[any](g, 3, "4"))
		g.put(check, "MaxEjectionPercent", pick(g, 20, 100, 100, 1, 2, 3, 4, 101))
		g.put(up, "PassiveHealthCheck", check)
		over := tree{}
		g.put(over, "Name", pick(g, g.name(), g.name(), g.name(), g.name(), g.name(), g.name(), g.name(), "", "*"))
		g.put(m, "UpstreamConfig", tree{"Defaults": up, "Overrides": []any{over}})
		g.put(m, "MaxInboundConnections", 12)
	}
	return m
}

func (g *generator) router(name string) tree {
	m := g.entry(KindServiceRouter, name)
	var routes []any
	for range g.IntN(4) {
		r := tree{}
		if g.chance(85) {
			r["Match"] = tree{"HTTP": g.match()}
		} else if g.chance(50) {
			r["Match"] = tree{}
		}
		if g.chance(85) {
			r["Destination"] = g.destination(name)
		}
		routes = append(routes, r)
	}
	switch {
	case len(routes) == 1 && g.chance(30):
		m["Routes"] = routes[0]
	case routes != nil || g.chance(50):
		m["Routes"] = routes
	}
	return m
}

func (g *generator) match() tree {
	m := tree{}
	switch g.IntN(50) {
	case 0, 1, 2, 3, 4, 5, 6, 7, 8, 9:
		g.put(m, "PathExact", pick(g, "/a", "/b/c"))
	case 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20:
		g.put(m, "PathPrefix", pick(g, "/", "/api", "/api/v2"))
	case 21, 22, 23, 24, 25, 26, 27, 28:
		g.put(m, "PathRegex", "^/items/[0-9]+$")
	case 29:
		g.put(m, pick(g, "PathPrefix", "PathExact"), "api")
	case 30:
		g.put(m, "PathExact", "/a")
		g.put(m, "PathRegex", "/a.*")
	}
	g.put(m, "CaseInsensitive", g.chance(10))
	if g.chance(40) {
		h := tree{"Name": pick(g, "x-user", "x-user", "x-user", "x-user", "x-user", "X-Debug", "X-Debug", "X-Debug", "")}
		for _, k := range g.Perm(5)[:pick(g, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 2)] {
			h[[]string{"Exact", "Prefix", "Suffix", "Regex", "Present"}[k]] = []any{"a", "b", "c", "d+", true}[k]
		}
		g.put(h, "Invert", g.chance(20))
		m["Header"] = []any{h}
	}
	if g.chance(25) {
		q := tree{"Name": "q"}
		for _, k := range g.Perm(3)[:pick(g, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 2)] {
			q[[]string{"Exact", "Regex", "Present"}[k]] = []any{"1", "[0-9]", "true"}[k]
		}
		g.put(m, "QueryParam", pick[any](g, []any{q}, q))
	}
	if g.chance(30) {
		m["Methods"] = pick[any](g, []any{"GET", "post"}, "delete", []any{}, []any{"put"}, "patch", []any{"head"}, []any{"GET", "get"}, []any{"FETCH"})
	}
	return m
}

func (g *generator) headers(whole bool) tree {
	h := tree{"Add": tree{"x-a": "1", pick(g, "x-b", "x-c"): "2"}, "Set": tree{pick(g, "x-d", "x-e"): pick(g, "3", "4")}}
	if g.chance(60) {
		h["Remove"] = []any{pick(g, "x-f", "x-g", "x-h"), "x-i"}
	}
	if !whole && g.chance(50) {
		delete(h, pick(g, "Add", "Set"))
	}
	return h
}

func (g *generator) destination(router string) tree {
	d := tree{}
	service := g.service()
	g.put(d, "Service", service)
	g.put(d, "ServiceSubset", g.subset(service, router))
	if g.chance(6) {
		g.put(d, "PrefixRewrite", "/new")
	}
	if g.chance(20) {
		g.put(d, "RequestTimeout", pick[any](g, g.duration(), "-1s"))
		g.put(d, "IdleTimeout", g.duration())
	}
	if g.chance(20) {
		g.put(d, "NumRetries", pick[any](g, 3, "4"))
		g.put(d, "RetryOnConnectFailure", true)
		g.put(d, "RetryOn", pick[any](g, []any{"5xx", "reset"}, "unavailable", "reset", []any{"never"}))
		g.put(d, "RetryOnStatusCodes", []any{503, 429})
	}
	if g.chance(15) {
		g.put(d, pick(g, "RequestHeaders", "ResponseHeaders"), g.headers(false))
	}
	if g.chance(4) {
		d[pick(g, "Namespace", "Partition")] = pick(g, "default", "other")
	}
	return d
}
