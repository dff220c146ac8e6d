package chain

import "strings"

// findCycle refuses splitters that lead to each other in a circle. Redirects are
// looked at on their way, and failover does not go on from where it leads.
func (c *chainCompiler) findCycle(start string) error {
	const (
		open = 1 // on the way to here
		done = 2
	)
	state := map[string]int{}
	var way []string
	var visit func(key string) error
	visit = func(key string) error {
		way = append(way, key)
		if state[key] == open {
			for way[0] != key {
				way = way[1:]
			}
			service := strings.TrimSuffix(strings.TrimPrefix(key, SplitterNode+":"), "."+inDefault+"."+inDefault)
			return entryWrong(&ServiceSplitter{Name: service}, "Splits", "go round in a circle: %s", clip(strings.Join(way, " -> ")))
		}
		if state[key] == 0 {
			state[key] = open
			n := c.nodes[key]
			for _, next := range n.next() {
				if err := visit(next); err != nil {
					return err
				}
			}
			state[key] = done
		}
		way = way[:len(way)-1]
		return nil
	}
	return visit(start)
}

// next are the keys of the nodes that a node leads to.
func (n *Node) next() (keys []string) {
	for _, r := range n.Routes {
		keys = append(keys, r.NextNode)
	}
	for _, s := range n.Splits {
		keys = append(keys, s.NextNode)
	}
	return keys
}

// flatten puts the splits of a splitter in the place of a split that leads to it,
// from the ends of the chain on. There is no circle in it.
func (c *chainCompiler) flatten(start string) error {
	done := map[string]bool{}
	var visit func(key string) error
	visit = func(key string) error {
		if done[key] {
			return nil
		}
		done[key] = true
		n := c.nodes[key]
		for _, next := range n.next() {
			if err := visit(next); err != nil {
				return err
			}
		}
		var flat []*Split
		for _, s := range n.Splits {
			inner := c.nodes[s.NextNode]
			if inner.Type != SplitterNode {
				flat = append(flat, s)
				continue
			}
			for _, in := range inner.Splits {
				flat = append(flat, &Split{
					Definition: mergeSplit(s.Definition, in.Definition),
					Weight:     roundWeight(s.Weight * in.Weight / 100),
					NextNode:   in.NextNode,
				})
			}
			if err := c.enough(len(inner.Splits)); err != nil {
				return err
			}
			if len(flat) > maxSplits {
				name := strings.TrimSuffix(n.Name, "."+inDefault+"."+inDefault)
				return entryWrong(&ServiceSplitter{Name: name}, "Splits", "and those that they lead to are over %d", maxSplits)
			}
		}
		n.Splits = flat
		return nil
	}
	return visit(start)
}

// dropUnused drops nodes that nothing leads to any more.
func (c *chainCompiler) dropUnused(start string) {
	used := map[string]bool{start: true}
	for todo := []string{start}; len(todo) > 0; {
		n := c.nodes[todo[0]]
		todo = todo[1:]
		for _, key := range n.next() {
			if !used[key] {
				used[key] = true
				todo = append(todo, key)
			}
		}
	}
	for key := range c.nodes {
		if !used[key] {
			delete(c.nodes, key)
		}
	}
}
