package chain

import (
	"cmp"
	"fmt"
)

func validateSplitter(e *ServiceSplitter) error {
	if len(e.Splits) == 0 {
		return entryWrong(e, "Splits", "is empty; the weights of splits sum up to 100")
	}
	type place struct{ service, subset, namespace, partition string }
	seen := map[place]int{}
	sum := 0
	for i, s := range e.Splits {
		at := fmt.Sprintf("Splits[%d]", i)
		if !(s.Weight >= 0 && s.Weight <= 100) {
			return entryWrong(e, at+".Weight", "%v is not in 0..100", s.Weight)
		}
		sum += hundredths(s.Weight)
		// Consul allows one place twice if header edits tell them apart.
		if s.RequestHeaders != nil || s.ResponseHeaders != nil {
			continue
		}
		p := place{cmp.Or(s.Service, e.Name), s.ServiceSubset, s.Namespace, s.Partition}
		if j, twice := seen[p]; twice {
			return entryWrong(e, at, "leads where Splits[%d] leads: service %q, subset %q", j, p.service, p.subset)
		}
		seen[p] = i
	}
	if sum != 100*100 {
		return entryWrong(e, "Splits", "the weights sum up to %v, not to 100", float64(sum)/100)
	}
	return nil
}
