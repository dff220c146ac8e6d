package consultest

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/consul/api"
)

const (
	pollEvery = 20 * time.Millisecond
	// askFor bounds one readiness question: a hung agent must not hang us.
	askFor = 3 * time.Second
	// readyWithin bounds the start of an agent when ctx does not.
	readyWithin = 90 * time.Second
)

// waitReady waits until the agent has a leader, sees every datacenter of its
// federation, and can issue a leaf certificate.
func (a *Agent) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	steps := []struct {
		what string
		ask  func(*api.QueryOptions) error
	}{
		{"has no leader", a.hasLeader},
		{"does not see all datacenters", a.seesAll},
		{"is not in its own catalog", a.hasSelf},
		{"issues no leaf certificate", a.hasLeaf},
	}
	for _, s := range steps {
		if err := a.poll(ctx, s.what, s.ask); err != nil {
			return err
		}
	}
	return nil
}

func (a *Agent) poll(ctx context.Context, what string, ask func(*api.QueryOptions) error) error {
	a.mu.Lock()
	exited := a.exited
	a.mu.Unlock()
	for {
		one, cancel := context.WithTimeout(ctx, askFor)
		err := ask((&api.QueryOptions{}).WithContext(one))
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-exited:
			return fmt.Errorf("consultest: agent %s of %s ended; its log says:\n%s", a.cfg.Node, a.Datacenter, tail([]byte(a.Logs()), 2048))
		case <-ctx.Done():
			return fmt.Errorf("consultest: agent %s of %s %s: %w (last answer: %v); its log says:\n%s",
				a.cfg.Node, a.Datacenter, what, ctx.Err(), err, tail([]byte(a.Logs()), 2048))
		case <-time.After(pollEvery):
		}
	}
}

func (a *Agent) hasLeader(q *api.QueryOptions) error {
	leader, err := a.client.Status().LeaderWithQueryOptions(q)
	if err == nil && leader == "" {
		err = fmt.Errorf("no leader")
	}
	return err
}

func (a *Agent) seesAll(q *api.QueryOptions) error {
	want := max(1, len(a.cfg.wan))
	var dcs []string
	_, err := a.client.Raw().Query("/v1/catalog/datacenters", &dcs, q)
	if err == nil && len(dcs) < want {
		err = fmt.Errorf("sees only %v of %d datacenters", dcs, want)
	}
	return err
}

func (a *Agent) hasSelf(q *api.QueryOptions) error {
	node, _, err := a.client.Catalog().Node(a.cfg.Node, q)
	if err == nil && node == nil {
		err = fmt.Errorf("not registered")
	}
	return err
}

func (a *Agent) hasLeaf(q *api.QueryOptions) error {
	_, _, err := a.client.Agent().ConnectCALeaf("consultest-ready", q)
	return err
}
