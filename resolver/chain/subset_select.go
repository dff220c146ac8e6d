package chain

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/go-bexpr/grammar"

	"github.com/weft-mesh/weft/resolver"
)

// selector reads one field of an instance, by Consul's names. One of the functions
// is set; lookup is a string that may be absent.
type selector struct {
	name   string
	text   func(*resolver.Endpoint) string
	lookup func(*resolver.Endpoint) (string, bool)
	number func(*resolver.Endpoint) int64
	list   func(*resolver.Endpoint) []string
	table  func(*resolver.Endpoint) map[string]string
}

// selector finds what an endpoint carries: of the service its Meta, Tags, ID,
// Service, Kind, Address and Port, of the node its name and, from the target, its
// datacenter and peer.
func (c *filterCompiler) selector(path []string) (selector, error) {
	name := strings.Join(path, ".")
	s := selector{name: name}
	switch name {
	case "Service.Meta":
		s.table = func(e *resolver.Endpoint) map[string]string { return e.Metadata }
	case "Service.Tags":
		s.list = func(e *resolver.Endpoint) []string { return e.Tags }
	case "Service.ID":
		s.text = func(e *resolver.Endpoint) string { return e.ID.Instance }
	case "Service.Service":
		s.text = func(e *resolver.Endpoint) string { return e.Service }
	case "Service.Kind": // other kinds are no endpoints
		s.text = func(*resolver.Endpoint) string { return "" }
	case "Service.Address":
		c.dialled = true
		s.text = func(e *resolver.Endpoint) string { h, _, _ := net.SplitHostPort(e.Addr); return h }
	case "Service.Port":
		c.dialled = true
		s.number = func(e *resolver.Endpoint) int64 {
			_, p, _ := net.SplitHostPort(e.Addr)
			n, _ := strconv.ParseInt(p, 10, 64)
			return n
		}
	case "Node.Node":
		s.text = func(e *resolver.Endpoint) string { return e.ID.Node }
	case "Node.Datacenter":
		if c.t.Datacenter == "" {
			return s, fmt.Errorf("%w: the datacenter of a peer's nodes is not known", errFilter)
		}
		s.text = fixed(c.t.Datacenter)
	case "Node.PeerName", "Service.PeerName":
		s.text = fixed(c.t.Peer)
	default:
		if len(path) != 3 || path[0] != "Service" || path[1] != "Meta" {
			return s, fmt.Errorf("%w: an endpoint does not carry %s", errFilter, clip(name))
		}
		key := path[2]
		s.lookup = func(e *resolver.Endpoint) (string, bool) { v, ok := e.Metadata[key]; return v, ok }
		s.text = func(e *resolver.Endpoint) string { return e.Metadata[key] }
	}
	return s, nil
}

func fixed(v string) func(*resolver.Endpoint) string {
	return func(*resolver.Endpoint) string { return v }
}

// compare makes the predicate of an operator, if the field has it in Consul.
func (s *selector) compare(op grammar.MatchOperator, raw string) (predicate, error) {
	switch {
	case s.text != nil:
		switch text := s.text; op {
		case grammar.MatchEqual:
			return func(e *resolver.Endpoint) bool { return text(e) == raw }, nil
		case grammar.MatchIn:
			return func(e *resolver.Endpoint) bool { return strings.Contains(text(e), raw) }, nil
		case grammar.MatchMatches:
			re, err := compilePattern(raw)
			return func(e *resolver.Endpoint) bool { return re.MatchString(text(e)) }, err
		}
	case s.number != nil:
		if op == grammar.MatchEqual {
			n, err := strconv.ParseInt(raw, 0, 64)
			if err != nil {
				return nil, fmt.Errorf("%w: %q is no number", errFilter, clip(raw))
			}
			number := s.number
			return func(e *resolver.Endpoint) bool { return number(e) == n }, nil
		}
	case s.list != nil:
		switch list := s.list; op {
		case grammar.MatchIn:
			return func(e *resolver.Endpoint) bool { return slices.Contains(list(e), raw) }, nil
		case grammar.MatchIsEmpty:
			return func(e *resolver.Endpoint) bool { return len(list(e)) == 0 }, nil
		}
	case s.table != nil:
		switch table := s.table; op {
		case grammar.MatchIn:
			return func(e *resolver.Endpoint) bool { _, ok := table(e)[raw]; return ok }, nil
		case grammar.MatchIsEmpty:
			return func(e *resolver.Endpoint) bool { return len(table(e)) == 0 }, nil
		}
	}
	return nil, fmt.Errorf("%w: operator %q does not fit %s", errFilter, op, clip(s.name))
}
