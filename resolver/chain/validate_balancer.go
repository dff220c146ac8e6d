package chain

import (
	"fmt"
)

func validateLoadBalancer(e Entry, lb *LoadBalancer) error {
	if lb == nil {
		return nil
	}
	const at = "LoadBalancer"
	switch lb.Policy {
	case "", "random", "round_robin", "least_request", "ring_hash", "maglev":
	default:
		return entryWrong(e, at+".Policy", "%q is not one of least_request, ring_hash, maglev, random, round_robin and empty", clip(lb.Policy))
	}
	switch {
	case lb.RingHashConfig != nil && lb.Policy != "ring_hash":
		return entryWrong(e, at+".RingHashConfig", "goes with Policy ring_hash, not with %q", lb.Policy)
	case lb.LeastRequestConfig != nil && lb.Policy != "least_request":
		return entryWrong(e, at+".LeastRequestConfig", "goes with Policy least_request, not with %q", lb.Policy)
	case len(lb.HashPolicies) > 0 && !lb.hashes():
		return entryWrong(e, at+".HashPolicies", "go with Policy ring_hash or maglev, not with %q", lb.Policy)
	}
	for i, h := range lb.HashPolicies {
		at := fmt.Sprintf("%s.HashPolicies[%d]", at, i)
		switch {
		case h.Field != "" && h.Field != "header" && h.Field != "cookie" && h.Field != "query_parameter":
			return entryWrong(e, at+".Field", "%q is not one of header, cookie, query_parameter", clip(h.Field))
		case h.SourceIP && (h.Field != "" || h.FieldValue != ""):
			return entryWrong(e, at+".SourceIP", "cannot go with Field or FieldValue; make a policy of each")
		case h.Field != "" && h.FieldValue == "":
			return entryWrong(e, at+".FieldValue", "is empty; it names the %s", h.Field)
		case h.Field == "" && h.FieldValue != "":
			return entryWrong(e, at+".Field", "is empty; it says what FieldValue %q is", clip(h.FieldValue))
		case h.CookieConfig != nil && h.Field != "cookie":
			return entryWrong(e, at+".CookieConfig", "goes with Field cookie, not with %q", h.Field)
		case h.CookieConfig != nil && h.CookieConfig.Session && h.CookieConfig.TTL != 0:
			return entryWrong(e, at+".CookieConfig.TTL", "cannot go with Session: a session cookie has no end")
		}
	}
	return nil
}

// hashes reports whether the policy chooses by a hash key.
func (lb *LoadBalancer) hashes() bool {
	return lb != nil && (lb.Policy == "ring_hash" || lb.Policy == "maglev")
}
