package chain

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/weft-mesh/weft/resolver/internal/bexpr"
)

// subsetName are the names that can be part of a TLS server name.
var subsetName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)

func validateResolver(e *ServiceResolver) error {
	for _, name := range sortedKeys(e.Subsets) {
		at := fmt.Sprintf("Subsets[%q]", clip(name))
		if len(name) > 63 || !subsetName.MatchString(name) {
			return entryWrong(e, at, "the name must be 1 to 63 of a-z, 0-9 and -, with no - at its ends")
		}
		if err := checkFilter(e, at+".Filter", e.Subsets[name].Filter); err != nil {
			return err
		}
	}
	if e.DefaultSubset != "" && !e.hasSubset(e.DefaultSubset) {
		return entryWrong(e, "DefaultSubset", "%q is not one of the Subsets", clip(e.DefaultSubset))
	}
	if err := firstError(checkLocality(e, e.PrioritizeByLocality), validateRedirect(e)); err != nil {
		return err
	}
	for _, subset := range sortedKeys(e.Failover) {
		if err := validateFailover(e, subset, e.Failover[subset]); err != nil {
			return err
		}
	}
	if e.ConnectTimeout < 0 {
		return entryWrong(e, "ConnectTimeout", "%v is negative", e.ConnectTimeout)
	}
	if e.RequestTimeout < 0 {
		return entryWrong(e, "RequestTimeout", "%v is negative", e.RequestTimeout)
	}
	return validateLoadBalancer(e, e.LoadBalancer)
}

func (e *ServiceResolver) hasSubset(name string) bool {
	_, ok := e.Subsets[name]
	return ok || name == ""
}

func checkFilter(e Entry, field, filter string) error {
	if filter == "" {
		return nil
	}
	if len(filter) > maxSubsetFilter {
		return entryWrong(e, field, "has %d bytes, over %d", len(filter), maxSubsetFilter)
	}
	if _, err := bexpr.Parse(filter); err != nil {
		return entryWrong(e, field, `is not a filter like Service.Meta.version == "2": %s`, clip(err.Error()))
	}
	return nil
}

func validateRedirect(e *ServiceResolver) error {
	r := e.Redirect
	if r == nil {
		return nil
	}
	for _, f := range []struct{ name, value string }{
		{"Partition", r.Partition}, {"Namespace", r.Namespace}, {"SamenessGroup", r.SamenessGroup},
	} {
		if f.value != "" {
			return entryWrong(e, "Redirect."+f.name, "needs Consul Enterprise; leave it out")
		}
	}
	switch {
	case len(e.Failover) > 0:
		return entryWrong(e, "Redirect", "and Failover exclude each other; put the Failover into the resolver of %q", clip(r.Service))
	case *r == Redirect{}:
		return entryWrong(e, "Redirect", "is empty; it needs a Service or Datacenter")
	case r.Peer != "" && r.ServiceSubset != "":
		return entryWrong(e, "Redirect.ServiceSubset", "cannot go with Peer; subsets are for the peer to choose")
	case r.Peer != "" && r.Datacenter != "":
		return entryWrong(e, "Redirect.Datacenter", "cannot go with Peer")
	case r.Service == "" && r.ServiceSubset != "":
		return entryWrong(e, "Redirect.ServiceSubset", "needs a Service; to choose a subset of the same, use DefaultSubset")
	case r.Service == "" && r.Peer != "":
		return entryWrong(e, "Redirect.Peer", "needs a Service")
	case r.ServiceSubset != "" && r.Service == e.Name && !e.hasSubset(r.ServiceSubset):
		return entryWrong(e, "Redirect.ServiceSubset", "%q is not one of the Subsets", clip(r.ServiceSubset))
	}
	return nil
}

func validateFailover(e *ServiceResolver, subset string, f FailoverRule) error {
	at := fmt.Sprintf("Failover[%q]", clip(subset))
	switch {
	case f.Namespace != "":
		return entryWrong(e, at+".Namespace", "needs Consul Enterprise; leave it out")
	case f.SamenessGroup != "":
		return entryWrong(e, at+".SamenessGroup", "needs Consul Enterprise; leave it out")
	case subset != "*" && (subset == "" || !e.hasSubset(subset)):
		return entryWrong(e, at, `is for a subset that is not one of the Subsets; use "*" for all`)
	case f.Service == "" && f.ServiceSubset == "" && len(f.Datacenters) == 0 && len(f.Targets) == 0:
		return entryWrong(e, at, "is empty; it needs one of Service, ServiceSubset, Datacenters and Targets")
	case f.Policy != nil && f.Policy.Mode != "":
		return entryWrong(e, at+".Policy.Mode", "needs Consul Enterprise; leave it out")
	case f.ServiceSubset != "" && (f.Service == "" || f.Service == e.Name) && !e.hasSubset(f.ServiceSubset):
		return entryWrong(e, at+".ServiceSubset", "%q is not one of the Subsets", clip(f.ServiceSubset))
	case len(f.Targets) > 0 && len(f.Datacenters) > 0:
		return entryWrong(e, at+".Datacenters", "cannot go with Targets; name the datacenter in a target")
	case len(f.Targets) > 0 && f.ServiceSubset != "":
		return entryWrong(e, at+".ServiceSubset", "cannot go with Targets; name the subset in a target")
	case len(f.Targets) > 0 && f.Service != "":
		return entryWrong(e, at+".Service", "cannot go with Targets; name the service in a target")
	case slices.Contains(f.Datacenters, ""):
		return entryWrong(e, at+".Datacenters", "one of the names is empty")
	}
	for i, t := range f.Targets {
		at := fmt.Sprintf("%s.Targets[%d]", at, i)
		switch {
		case t.Partition != "":
			return entryWrong(e, at+".Partition", "needs Consul Enterprise; leave it out")
		case t.Namespace != "":
			return entryWrong(e, at+".Namespace", "needs Consul Enterprise; leave it out")
		case t.Peer != "" && t.ServiceSubset != "":
			return entryWrong(e, at+".ServiceSubset", "cannot go with Peer; subsets are for the peer to choose")
		case t.Peer != "" && t.Datacenter != "":
			return entryWrong(e, at+".Datacenter", "cannot go with Peer")
		case t.ServiceSubset != "" && (t.Service == "" || t.Service == e.Name) && !e.hasSubset(t.ServiceSubset):
			return entryWrong(e, at+".ServiceSubset", "%q is not one of the Subsets", clip(t.ServiceSubset))
		}
	}
	return nil
}
