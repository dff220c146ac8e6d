package chain

import (
	"fmt"
	"strconv"
	"strings"
)

// checkSticky refuses a source of keys that makes no sense.
func checkSticky(v string) error {
	_, _, err := stickyOf(v)
	return err
}

func stickyOf(v string) (kind sourceKind, name string, err error) {
	where, name, _ := strings.Cut(v, ":")
	switch where {
	case "header", "metadata":
		kind = headerSource
		if !token(strings.ToLower(name)) {
			return 0, "", fmt.Errorf("%q is no header name", clip(name))
		}
	case "cookie":
		kind = cookieSource
	case "query":
		kind = querySource
	default:
		return 0, "", fmt.Errorf("want header:NAME, metadata:NAME, cookie:NAME or query:NAME")
	}
	if name == "" {
		return 0, "", fmt.Errorf("the name after %q is empty", where+":")
	}
	return kind, name, nil
}

// stickySource compiles the sources of the sticky key.
func (b *evalCompiler) stickySource() {
	for i, v := range b.e.policy.Sticky {
		kind, name, err := stickyOf(v)
		if err != nil { // of a policy in Go
			b.p.add(kindDefaults, b.c.ServiceName, "Policy.Sticky["+strconv.Itoa(i)+"]", err.Error())
			continue
		}
		s := hashSource{kind: kind, name: name}
		switch kind {
		case headerSource:
			s.at = b.name(name)
		case cookieSource:
			s.at = b.cookie(name)
		}
		b.e.sticky = append(b.e.sticky, s)
	}
}

// checkActive reports a subset that no split leads to.
func (b *evalCompiler) checkActive() {
	name := b.e.policy.Active
	if name == "" {
		return
	}
	for _, s := range b.splits {
		if s.branch(name) >= 0 {
			return
		}
	}
	b.p.add(kindDefaults, b.c.ServiceName, "Meta["+KeyActive+"]", "no split of the chain leads to subset "+clip(name)+", so the weights hold; name it in the service-splitter, with weight 0 if need be")
}
