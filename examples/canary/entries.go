package main

import (
	"fmt"

	"github.com/hashicorp/consul/api"
)

// writer writes the config entries of the scene, as `consul config write` does.
type writer struct{ entries *api.ConfigEntries }

func (w writer) put(e api.ConfigEntry) error {
	ok, _, err := w.entries.Set(e, nil)
	if err == nil && !ok {
		err = fmt.Errorf("it was not written")
	}
	if err != nil {
		return fmt.Errorf("config entry %s %s: %w", e.GetKind(), e.GetName(), err)
	}
	return nil
}

// guard is what the canary has to reach next to the baseline, or it is taken out.
var guard = map[string]string{
	"weft-guard-max-errors": "10", // percentage points above the baseline's
	"weft-guard-min-volume": "20",
	"weft-guard-window":     "3s",
	"weft-guard-hold":       "2s", // short: this is a demonstration
}

// describe writes what is known of a service before there is a canary.
func (w writer) describe(service, protocol string) error {
	err := w.put(&api.ServiceConfigEntry{Kind: api.ServiceDefaults, Name: service, Protocol: protocol, Meta: guard})
	if err != nil {
		return err
	}
	return w.put(&api.ServiceResolverConfigEntry{
		Kind: api.ServiceResolver, Name: service, DefaultSubset: "v1",
		Subsets: map[string]api.ServiceResolverSubset{
			"v1": {Filter: "Service.Meta.version == v1"},
			"v2": {Filter: "Service.Meta.version == v2"},
		},
	})
}

// split gives v2 a percentage of the traffic.
func (w writer) split(service string, v2 float32) error {
	return w.put(&api.ServiceSplitterConfigEntry{Kind: api.ServiceSplitter, Name: service, Splits: []api.ServiceSplit{
		{Weight: 100 - v2, ServiceSubset: "v1"}, {Weight: v2, ServiceSubset: "v2"},
	}})
}
