package chain

import "fmt"

// setOnce reports an error unless exactly one, or none, is set.
func setOnce(at string, set ...bool) (none bool, err error) {
	n := 0
	for _, s := range set {
		if s {
			n++
		}
	}
	if n > 1 {
		return false, fmt.Errorf("resolver/chain: %s says %d ways to match; say one", at, n)
	}
	return n == 0, nil
}

func (b *evalCompiler) headers(m *matcher, list []HeaderMatch, router, at string) error {
	for i, h := range list {
		field := fmt.Sprintf("%s.Header[%d]", at, i)
		full := kindRouter + "/" + clip(router) + ": " + field
		if h.Name == "" {
			return fmt.Errorf("resolver/chain: %s.Name is empty", full)
		}
		none, err := setOnce(full, h.Present, h.Exact != "", h.Prefix != "", h.Suffix != "", h.Contains != "", h.Regex != "")
		if err != nil {
			return err
		}
		if none {
			b.p.add(kindRouter, router, field, "it says no way to match and is left out, as Consul does for Envoy; set Present, Exact, Prefix, Suffix, Contains or Regex")
			continue
		}
		hm := headerMatcher{name: b.name(h.Name), invert: h.Invert, value: valueMatcher{fold: h.IgnoreCase}}
		v := &hm.value
		switch {
		case h.Exact != "":
			v.kind, v.text = exactValue, h.Exact
		case h.Prefix != "":
			v.kind, v.text = prefixValue, h.Prefix
		case h.Suffix != "":
			v.kind, v.text = suffixValue, h.Suffix
		case h.Contains != "":
			v.kind, v.text = containsValue, h.Contains
		case h.Regex != "":
			v.kind = regexValue
			if v.re, err = pattern(full+".Regex", h.Regex, h.IgnoreCase); err != nil {
				return err
			}
		}
		if hm.name.pseudo == pseudoUnknown {
			b.p.add(kindRouter, router, field+".Name", "there is no pseudo-header "+clip(h.Name)+" here; it counts as absent")
		}
		if b.c.Protocol == "grpc" && hm.name.lower == "user-agent" {
			b.p.add(kindRouter, router, field+".Name", "gRPC adds user-agent after the route is chosen; it counts as absent in gRPC calls")
		}
		m.headers = append(m.headers, hm)
	}
	return nil
}

func (b *evalCompiler) query(m *matcher, list []QueryMatch, router, at string) error {
	for i, q := range list {
		field := fmt.Sprintf("%s.QueryParam[%d]", at, i)
		full := kindRouter + "/" + clip(router) + ": " + field
		if q.Name == "" {
			return fmt.Errorf("resolver/chain: %s.Name is empty", full)
		}
		none, err := setOnce(full, q.Present, q.Exact != "", q.Regex != "")
		if err != nil {
			return err
		}
		if none {
			b.p.add(kindRouter, router, field, "it says no way to match and is left out, as Consul does for Envoy; set Present, Exact or Regex")
			continue
		}
		qm := queryMatcher{name: q.Name}
		switch {
		case q.Exact != "":
			qm.value = valueMatcher{kind: exactValue, text: q.Exact}
		case q.Regex != "":
			qm.value.kind = regexValue
			if qm.value.re, err = pattern(full+".Regex", q.Regex, false); err != nil {
				return err
			}
		}
		m.query = append(m.query, qm)
	}
	return nil
}
