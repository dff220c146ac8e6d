package chain

import "strconv"

// cookie is the header to find a cookie in.
func (b *evalCompiler) cookie(name string) *headerName {
	if !oneOf(b.e.cookies, name) {
		b.e.cookies = append(b.e.cookies, name)
	}
	return b.name("cookie")
}

// hashPolicies compiles the policies of a load balancer; they count for the two
// policies that hash.
func (b *evalCompiler) hashPolicies(lb *LoadBalancer, name string) (list []hashPolicy) {
	if lb == nil {
		return nil
	}
	switch lb.Policy {
	case "ring_hash", "maglev":
	case "", "least_request", "round_robin", "random":
		if len(lb.HashPolicies) > 0 {
			b.p.add(kindResolver, name, "LoadBalancer.HashPolicies", "policy "+lb.Policy+" does not hash; use ring_hash or maglev")
		}
		return nil
	default:
		b.p.add(kindResolver, name, "LoadBalancer.Policy", "policy "+clip(lb.Policy)+" is not known; the caller's own is used")
		return nil
	}
	for i, p := range lb.HashPolicies {
		at := "LoadBalancer.HashPolicies[" + strconv.Itoa(i) + "]"
		h := hashPolicy{terminal: p.Terminal, cookie: p.CookieConfig}
		h.name = p.FieldValue
		switch {
		case p.SourceIP:
			h.kind = ipSource
		case p.FieldValue == "":
			b.p.add(kindResolver, name, at+".FieldValue", "it is empty; the policy is left out")
			continue
		case p.Field == "header":
			h.kind, h.at = headerSource, b.name(p.FieldValue)
		case p.Field == "cookie":
			h.kind, h.at = cookieSource, b.cookie(p.FieldValue)
		case p.Field == "query_parameter":
			h.kind = querySource
		default:
			b.p.add(kindResolver, name, at+".Field", "field "+clip(p.Field)+" is not known; the policy is left out")
			continue
		}
		list = append(list, h)
	}
	return list
}
