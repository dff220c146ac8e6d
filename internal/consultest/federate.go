package consultest

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Federate starts one server per datacenter, joined over the WAN, and waits
// until each has a leader, sees all others and can issue leaf certificates. The
// first is the primary. base applies to all of them, except Datacenter and Node,
// which come from the names; its HCL may not name ports. The caller must Stop
// each agent.
func Federate(ctx context.Context, base Config, datacenters ...string) ([]*Agent, error) {
	if len(datacenters) == 0 {
		return nil, errors.New("consultest: Federate needs the name of a datacenter")
	}
	for try := 1; ; try++ {
		agents, taken, err := federate(ctx, base, datacenters)
		if err == nil {
			return agents, nil
		}
		if !taken || try == startTries {
			return nil, err
		}
	}
}

// federate makes one try; taken says that it failed for a port.
func federate(ctx context.Context, base Config, names []string) (agents []*Agent, taken bool, err error) {
	ps := make([]ports, len(names))
	var wan []string
	for i := range names {
		if ps[i], err = freePorts(); err != nil {
			return nil, false, err
		}
		wan = append(wan, fmt.Sprintf("127.0.0.1:%d", ps[i].serfWAN))
	}
	for i, name := range names {
		cfg := base
		cfg.Datacenter, cfg.Node, cfg.Join = name, "", nil
		cfg.primary, cfg.wan = names[0], wan
		a, lerr := launch(ctx, cfg.withDefaults(), ps[i])
		if lerr != nil {
			stopAll(agents)
			return nil, false, lerr
		}
		agents = append(agents, a)
	}
	errs := make([]error, len(agents))
	var wg sync.WaitGroup
	for i, a := range agents {
		wg.Go(func() { errs[i] = a.waitReady(ctx) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		for _, a := range agents {
			taken = taken || a.portTaken()
		}
		stopAll(agents)
		return nil, taken, err
	}
	return agents, false, nil
}

func stopAll(agents []*Agent) {
	for _, a := range agents {
		a.Stop()
	}
}
