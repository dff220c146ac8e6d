package chain

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bounds of what one chain may ask for.
const (
	maxRoutes = 4096
	maxPlans  = 65536
)

// New compiles a chain. It refuses a chain that contradicts itself, naming node and
// field; what it understands and does not do, or does differently, are problems. c
// and what it points to must not change afterwards.
func New(c *Chain, opt Options) (*Evaluator, []Problem, error) {
	if c == nil {
		return nil, nil, fmt.Errorf("resolver/chain: there is no chain")
	}
	b := &evalCompiler{c: c, opt: opt, names: map[string]*headerName{}}
	e := &Evaluator{chain: c, active: opt.Active, rand: opt.Rand}
	b.e = e
	var bad []Problem
	e.policy, bad = ParsePolicy(opt.Policy, c.ServiceMeta)
	for _, p := range bad {
		b.p.add(p.Kind, c.ServiceName, p.Field, p.Why)
	}
	if e.profile = opt.Profile; e.profile.Name == "" {
		var err error
		if e.profile, err = ProfileOf(e.policy.Profile); err != nil {
			return nil, nil, err
		}
	}
	b.stickySource()
	e.mirror = uint32(math.Round(e.policy.Mirror.Percent * 100))
	if err := b.start(); err != nil {
		return nil, nil, err
	}
	b.targets()
	b.checkActive()
	for _, s := range b.splits { // last: a chain that is refused changes nothing
		b.guard(s)
	}
	if opt.Guard != nil {
		opt.Guard.keep(c.ServiceName, b.splits)
	}
	e.names = make([]headerName, len(b.names))
	for _, n := range b.names {
		e.names[n.index] = *n
	}
	e.simple = e.only != nil && len(e.only.hash) == 0 && e.mirror == 0
	return e, b.p.list, nil
}

func (b *evalCompiler) start() error {
	n := b.c.Nodes[b.c.StartNode]
	if n == nil {
		return fmt.Errorf("resolver/chain: %s: StartNode %q is not in Nodes", clip(b.c.ServiceName), clip(b.c.StartNode))
	}
	var err error
	switch n.Type {
	case RouterNode:
		return b.routes(n)
	case SplitterNode:
		b.e.split, err = b.splitter(n, nil, -1, nil)
	case ResolverNode:
		b.e.only, err = b.plan(n, nil, n.LoadBalancer, -1, nil)
	default:
		return fmt.Errorf("resolver/chain: node %q is of type %q; the start is a router, a splitter or a resolver", clip(b.c.StartNode), clip(n.Type))
	}
	return err
}

func (b *evalCompiler) routes(n *Node) error {
	if len(n.Routes) == 0 || len(n.Routes) > maxRoutes {
		return fmt.Errorf("resolver/chain: node %q has %d routes; 1 to %d can be", clip(b.c.StartNode), len(n.Routes), maxRoutes)
	}
	b.e.router = b.c.ServiceName
	b.e.routes = make([]route, len(n.Routes))
	for i, def := range n.Routes {
		at := "Routes[" + strconv.Itoa(i) + "]"
		if def == nil {
			return fmt.Errorf("resolver/chain: node %q: %s is null", clip(b.c.StartNode), at)
		}
		m, err := b.matcher(def.Definition, b.e.router, at)
		if err != nil {
			return err
		}
		rt := &b.e.routes[i]
		rt.matcher = *m
		next := b.c.Nodes[def.NextNode]
		if next == nil {
			return fmt.Errorf("resolver/chain: node %q: %s.NextNode %q is not in Nodes", clip(b.c.StartNode), at, clip(def.NextNode))
		}
		switch next.Type {
		case SplitterNode:
			rt.split, err = b.splitter(next, def, i, m)
		case ResolverNode:
			rt.plan, err = b.plan(next, def, next.LoadBalancer, i, m)
		default:
			err = fmt.Errorf("resolver/chain: node %q: %s leads to a node of type %q; it must lead to a splitter or a resolver", clip(b.c.StartNode), at, clip(next.Type))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// splitter compiles a splitter for one route. Its load balancer's hash policies
// hold for all branches, as they do in Envoy.
func (b *evalCompiler) splitter(n *Node, via *Route, index int, m *matcher) (*splitter, error) {
	if len(n.Splits) == 0 {
		return nil, fmt.Errorf("resolver/chain: splitter %q has no splits", clip(n.Name))
	}
	s := &splitter{name: n.Name}
	seen := map[string]int{}
	for i, def := range n.Splits {
		at := fmt.Sprintf("splitter %q: Splits[%d]", clip(n.Name), i)
		if def == nil {
			return nil, fmt.Errorf("resolver/chain: %s is null", at)
		}
		if w := float64(def.Weight); !(w >= 0 && w <= 100) {
			return nil, fmt.Errorf("resolver/chain: %s.Weight is %v; it is from 0 to 100", at, def.Weight)
		}
		next := b.c.Nodes[def.NextNode]
		if next == nil || next.Type != ResolverNode {
			return nil, fmt.Errorf("resolver/chain: %s.NextNode %q is not a resolver in Nodes; Consul joins splitters that lead to splitters", at, clip(def.NextNode))
		}
		lb := next.LoadBalancer
		if n.LoadBalancer != nil {
			lb = n.LoadBalancer
		}
		p, err := b.plan(next, via, lb, index, m)
		if err != nil {
			return nil, err
		}
		p.Branch = i
		b.splitEdits(p, def, n.Name, i)
		id := p.Target.ID
		br := branch{plan: p, weight: uint32(math.Round(float64(def.Weight) * 100)), salt: hashString(id + "#" + strconv.Itoa(seen[id]))}
		seen[id]++
		s.total += uint64(br.weight)
		s.branches = append(s.branches, br)
	}
	if s.total == 0 {
		return nil, fmt.Errorf("resolver/chain: splitter %q: all weights are 0; they must sum to 100", clip(n.Name))
	}
	b.splits = append(b.splits, s)
	return s, nil
}

// splitEdits puts the edits of a split before those of the route: in Envoy the
// more specific ones come first, and the others may undo them.
func (b *evalCompiler) splitEdits(p *Plan, def *Split, name string, i int) {
	if def.Definition == nil {
		return
	}
	entry, _, _ := strings.Cut(name, ".")
	at := "Splits[" + strconv.Itoa(i) + "]"
	p.RequestEdits = append(b.edits(nil, def.Definition.RequestHeaders, kindSplitter, entry, at+".RequestHeaders"), p.RequestEdits...)
	p.ResponseEdits = append(b.edits(nil, def.Definition.ResponseHeaders, kindSplitter, entry, at+".ResponseHeaders"), p.ResponseEdits...)
}
