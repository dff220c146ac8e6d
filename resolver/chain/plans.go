package chain

// Plans is every plan that Route may give, in the order of routes and splits.
func (e *Evaluator) Plans() []*Plan {
	var all []*Plan
	add := func(p *Plan, s *splitter) {
		if p != nil {
			all = append(all, p)
		}
		if s != nil {
			for i := range s.branches {
				all = append(all, s.branches[i].plan)
			}
		}
	}
	add(e.only, e.split)
	for i := range e.routes {
		add(e.routes[i].plan, e.routes[i].split)
	}
	return all
}

// Split reports whether the plan is a branch of a splitter, which a guard may watch.
func (p *Plan) Split() bool { return p.Branch >= 0 }

// Single is the chain of a service that no entry says anything about.
func Single(service, datacenter string) *Chain {
	id := service + ".default.default." + datacenter
	return &Chain{
		ServiceName: service, Namespace: "default", Partition: "default", Datacenter: datacenter, Default: true,
		StartNode: ResolverNode + ":" + id,
		Nodes:     map[string]*Node{ResolverNode + ":" + id: {Type: ResolverNode, Name: id, Resolver: &Resolver{Default: true, Target: id}}},
		Targets:   map[string]*Target{id: {ID: id, Service: service, Namespace: "default", Partition: "default", Datacenter: datacenter}},
	}
}
