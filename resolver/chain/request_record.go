package chain

import "strings"

// Record keeps of a request what the chain can read: its headers only if an entry
// or a policy names them. Of authorization it keeps the scheme, and of cookies those
// that give a key, so that credentials stay out of records.
func (e *Evaluator) Record(r *Request) Recorded {
	rec := Recorded{Method: r.Method, Path: r.Path, Query: r.Query, Authority: r.Authority, SourceIP: r.SourceIP, Key: r.Key}
	if r.HasDraw {
		draw := r.Draw
		rec.Draw = &draw
	}
	rd := reading{req: r}
	for i := range e.names {
		n := &e.names[i]
		if n.pseudo != notPseudo {
			continue
		}
		for _, v := range rd.header(n) {
			if v, ok := e.public(n, v); ok {
				if rec.Header == nil {
					rec.Header = map[string][]string{}
				}
				rec.Header[n.lower] = append(rec.Header[n.lower], v)
			}
		}
	}
	return rec
}

// public is what of a header's value may be shown.
func (e *Evaluator) public(n *headerName, v string) (string, bool) {
	switch n.lower {
	case "authorization", "proxy-authorization":
		scheme, _, _ := strings.Cut(v, " ")
		return scheme + " …", true
	case "cookie":
		var kept []string
		for _, name := range e.cookies {
			if c, ok := cookieValue(v, name); ok {
				kept = append(kept, name+"="+c)
			}
		}
		return strings.Join(kept, "; "), len(kept) > 0
	}
	return v, true
}
