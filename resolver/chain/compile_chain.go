package chain

import (
	"cmp"
	"fmt"
	"maps"

	"github.com/weft-mesh/weft/resolver"
)

// compile takes what it needs of steps.
func (s *EntrySet) compile(service string, cfg CompileConfig, steps *int) (*Chain, error) {
	if err := resolver.CheckService(service); err != nil {
		return nil, fmt.Errorf("resolver/chain: compile: %w", err)
	}
	if _, err := cfg.OverrideMeshGateway.check(); err != nil {
		return nil, fmt.Errorf("resolver/chain: CompileConfig.OverrideMeshGateway: %w", err)
	}
	cfg.Datacenter = cmp.Or(cfg.Datacenter, "dc1")
	cfg.TrustDomain = cmp.Or(cfg.TrustDomain, "weft.dev.internal")
	c := &chainCompiler{
		service: service, cfg: cfg, view: s.view(service, steps), steps: steps,
		plain:     cfg.OverrideProtocol != "" && !httpLike(cfg.OverrideProtocol),
		nodes:     map[string]*Node{},
		splitters: map[string]*Node{},
		resolvers: map[string]*Node{},
		targets:   map[string]*Target{},
		retained:  map[string]bool{},
	}
	return c.compile()
}

// chainCompiler makes one chain.
type chainCompiler struct {
	service string
	cfg     CompileConfig
	view    *view
	plain   bool // routers and splitters are left out
	steps   *int // that are left

	protocol   string
	l7         Entry // a router or splitter that is used; nil: none is
	nodes      map[string]*Node
	splitters  map[string]*Node // by service
	resolvers  map[string]*Node // by target ID
	targets    map[string]*Target
	retained   map[string]bool // target IDs that are used
	customized struct{ gateway, protocol, timeout bool }
}

// ref is the field that leads somewhere, for errors.
type ref struct {
	entry Entry // nil: the call itself
	field string
}

func (r ref) wrong(format string, args ...any) error {
	if r.entry == nil {
		return &EntryError{Field: r.field, Why: fmt.Sprintf(format, args...)}
	}
	return entryWrong(r.entry, r.field, format, args...)
}

// enough takes n steps, and fails if they are not left.
func (c *chainCompiler) enough(n int) error {
	if *c.steps -= n; *c.steps >= 0 {
		return nil
	}
	return &EntryError{Kind: "chain", Name: c.service, Why: fmt.Sprintf("takes, with those checked before it, over %d steps to compile; "+
		"the entries lead to too many services", maxSteps)}
}

func (c *chainCompiler) compile() (*Chain, error) {
	if err := c.enough(0); err != nil {
		return nil, err
	}
	start, err := c.assemble()
	if err != nil {
		return nil, err
	}
	if err := c.findCycle(start); err != nil {
		return nil, err
	}
	if err := c.flatten(start); err != nil {
		return nil, err
	}
	c.dropUnused(start)
	for id := range c.targets {
		if !c.retained[id] {
			delete(c.targets, id)
		}
	}
	if c.l7 != nil && !httpLike(c.protocol) {
		return nil, entryWrong(c.l7, "", "routes or splits requests of chain %q, which speaks %q; set Protocol in service-defaults %q to http, http2 or grpc",
			c.service, clip(c.protocol), c.service)
	}
	if o := c.cfg.OverrideProtocol; o != "" && o != c.protocol {
		c.protocol, c.customized.protocol = o, true
	}
	ch := &Chain{
		ServiceName: c.service, Namespace: inDefault, Partition: inDefault, Datacenter: c.cfg.Datacenter,
		Protocol: c.protocol, StartNode: start, Nodes: c.nodes, Targets: c.targets,
		CustomizationHash: c.customizationHash(),
	}
	if d := c.view.services[c.service]; d != nil {
		ch.ServiceMeta = maps.Clone(d.Meta)
	}
	if n := c.nodes[start]; n.Type == ResolverNode && n.Resolver.Default {
		t := c.targets[n.Resolver.Target]
		ch.Default = t.Service == c.service && t.Namespace == inDefault && t.Partition == inDefault
	}
	return ch, nil
}

// assemble makes the nodes, and returns the key of the first.
func (c *chainCompiler) assemble() (string, error) {
	router := c.view.router
	if router != nil && c.plain {
		router, c.customized.protocol = nil, true
	}
	if router == nil {
		n, err := c.splitterOrResolver(c.newTarget(Target{Service: c.service}), ref{})
		if err != nil {
			return "", err
		}
		return n.key(), nil
	}
	return c.routerNode(router)
}

// speaks notes the protocol of a service: a chain has one.
func (c *chainCompiler) speaks(service string) error {
	p := c.view.protocol(service)
	if c.protocol == "" {
		c.protocol = p
	}
	if c.protocol == p {
		return nil
	}
	var by Entry = &ServiceDefaults{Name: service}
	why := ""
	if c.view.services[service] == nil {
		why = ", there being no such entry"
	}
	return entryWrong(by, "Protocol", "is %q%s; the chain of %q, which leads here, speaks %q", clip(p), why, c.service, clip(c.protocol))
}

func (n *Node) key() string { return n.Type + ":" + n.Name }
