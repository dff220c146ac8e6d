package chain

import (
	"cmp"
	"strings"
)

// view is the part of a set that the chain of one service can reach. It matters
// what is not in it: a service that is only the target of a failover to a peer is
// not looked up here, because it is the peer's. It is not whole if steps get short.
type view struct {
	router    *ServiceRouter
	splitters map[string]*ServiceSplitter
	resolvers map[string]*ServiceResolver
	services  map[string]*ServiceDefaults
	proxy     *ProxyDefaults
}

func (s *EntrySet) view(service string, steps *int) *view {
	v := &view{
		router:    s.router(service),
		splitters: map[string]*ServiceSplitter{},
		resolvers: map[string]*ServiceResolver{},
		services:  map[string]*ServiceDefaults{},
		proxy:     s.ProxyDefaults(),
	}
	visited := map[string]bool{service: true}
	todo := []string{service}
	if v.router != nil {
		todo, _ = related(v.router)
	}
	var resolvers []string
	for seen := map[string]bool{}; len(todo) > 0 && *steps >= 0; *steps-- {
		name := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[name] {
			continue
		}
		seen[name], visited[name] = true, true
		resolvers = append(resolvers, name)
		if sp := s.splitter(name); sp != nil {
			v.splitters[name] = sp
			names, _ := related(sp)
			todo = append(todo, names...)
		}
	}
	for seen := map[string]bool{}; len(resolvers) > 0 && *steps >= 0; *steps-- {
		name := resolvers[len(resolvers)-1]
		resolvers = resolvers[:len(resolvers)-1]
		if seen[name] {
			continue
		}
		seen[name], visited[name] = true, true
		if r := s.resolver(name); r != nil {
			v.resolvers[name] = r
			names, _ := related(r)
			resolvers = append(resolvers, names...)
		}
	}
	for name := range visited {
		if d := s.ServiceDefaults(name); d != nil {
			v.services[name] = d
		}
	}
	return v
}

// related are the services that an entry leads to in this cluster; ok is false
// for entries that lead nowhere by their kind.
func related(e Entry) (names []string, ok bool) {
	switch e := e.(type) {
	case *ServiceRouter:
		names = append(names, e.Name) // what no route matches
		for _, r := range e.Routes {
			if r.Destination != nil {
				names = append(names, cmp.Or(r.Destination.Service, e.Name))
			}
		}
	case *ServiceSplitter:
		for _, s := range e.Splits {
			names = append(names, cmp.Or(s.Service, e.Name))
		}
	case *ServiceResolver:
		if e.Redirect != nil {
			names = append(names, cmp.Or(e.Redirect.Service, e.Name))
		}
		for _, key := range sortedKeys(e.Failover) {
			f := e.Failover[key]
			if len(f.Targets) == 0 {
				names = append(names, cmp.Or(f.Service, e.Name))
			}
			for _, t := range f.Targets {
				if t.Peer == "" {
					names = append(names, cmp.Or(t.Service, e.Name))
				}
			}
		}
	default:
		return nil, false
	}
	return names, true
}

// protocol is what a service speaks.
func (v *view) protocol(service string) string {
	if d := v.services[service]; d != nil {
		return cmp.Or(d.Protocol, "tcp")
	}
	if v.proxy != nil {
		return cmp.Or(strings.ToLower(v.proxy.protocol()), "tcp")
	}
	return "tcp"
}
