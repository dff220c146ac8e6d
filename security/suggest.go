package security

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/weft-mesh/weft/security/internal/foreign"
)

// Edge is calls of one kind that were observed.
type Edge struct {
	// Caller and Service are the names of the services at both ends, as Consul knows them.
	Caller, Service string
	// Method is the HTTP method; POST for gRPC.
	Method string
	// Path is the path that was called; /package.Service/Method for gRPC.
	Path string
	// Count is how many calls there were; it is shown to who reviews the suggestion.
	Count uint64
}

// Suggestion is the intentions of one service that allow what was observed and
// nothing else. It is for a human to review and apply: what was not observed, such as
// a yearly job, is denied by it.
type Suggestion struct {
	// Kind is "service-intentions", Name the service.
	Kind, Name string
	// Sources are its callers, and at last everybody else, who is denied.
	Sources []SuggestedSource
}

// SuggestedSource is one caller and what it may do.
type SuggestedSource struct {
	// Name is the caller, Action what applies if there are no Permissions.
	Name   string
	Action string `json:",omitempty"`
	// Permissions are what it was seen to do; Description says how often.
	Permissions []SuggestedPermission `json:",omitempty"`
	Description string                `json:",omitempty"`
}

// SuggestedPermission is for requests of one kind.
type SuggestedPermission struct {
	// Action is "allow", or "deny" for all the rest; HTTP what it is for.
	Action string
	HTTP   SuggestedHTTP
}

// SuggestedHTTP is what requests of one kind have in common.
type SuggestedHTTP struct {
	// PathExact is their path; PathRegex, if a part of it looks like an identifier;
	// PathPrefix for the rest.
	PathExact  string `json:",omitempty"`
	PathRegex  string `json:",omitempty"`
	PathPrefix string `json:",omitempty"`
	// Methods are their HTTP methods.
	Methods []string `json:",omitempty"`
}

// maxSuggested bounds the permissions of one caller: more is no policy that a
// human would read.
const maxSuggested = 100

// Suggest makes the least intentions that allow the observed edges, sorted by
// service. Segments of a path that look like identifiers (numbers, UUIDs, long
// hexadecimal) become "any segment". It fails for an edge that no intention can name.
func Suggest(edges []Edge) ([]Suggestion, error) {
	type key struct{ service, caller, path string }
	methods, counts := map[key]map[string]bool{}, map[[2]string]uint64{}
	var keys []key
	for i, e := range edges {
		for _, name := range []string{e.Caller, e.Service} {
			if name == "" || strings.ContainsAny(name, "*\"\\\n/ ") {
				return nil, fmt.Errorf("security: Suggest: edge %d: %q is not the name of a service", i, clip(name))
			}
		}
		if e.Method == "" || e.Method != strings.ToUpper(e.Method) || !strings.HasPrefix(e.Path, "/") || !foreign.Printable(e.Path) || !foreign.Printable(e.Method) {
			return nil, fmt.Errorf("security: Suggest: edge %d: %q %q is not a method in upper case and a path", i, clip(e.Method), clip(e.Path))
		}
		k := key{e.Service, e.Caller, generalize(e.Path)}
		if methods[k] == nil {
			methods[k] = map[string]bool{}
			keys = append(keys, k)
		}
		methods[k][e.Method] = true
		counts[[2]string{e.Service, e.Caller}] += e.Count
	}
	slices.SortFunc(keys, func(a, b key) int {
		return strings.Compare(a.service+"\x00"+a.caller+"\x00"+a.path, b.service+"\x00"+b.caller+"\x00"+b.path)
	})
	var out []Suggestion
	for _, k := range keys {
		if len(out) == 0 || out[len(out)-1].Name != k.service {
			out = append(out, Suggestion{Kind: "service-intentions", Name: k.service})
		}
		s := &out[len(out)-1]
		if n := len(s.Sources); n == 0 || s.Sources[n-1].Name != k.caller {
			s.Sources = append(s.Sources, SuggestedSource{Name: k.caller, Description: fmt.Sprintf("observed %d calls", counts[[2]string{k.service, k.caller}])})
		}
		src := &s.Sources[len(s.Sources)-1]
		if len(src.Permissions) == maxSuggested {
			return nil, fmt.Errorf("security: Suggest: %s calls %s on more than %d paths; write that intention by hand", k.caller, k.service, maxSuggested)
		}
		p := SuggestedPermission{Action: "allow"}
		if strings.HasPrefix(k.path, "/") {
			p.HTTP.PathExact = k.path
		} else {
			p.HTTP.PathRegex = k.path[1:] // behind generalize's mark
		}
		for m := range methods[k] {
			p.HTTP.Methods = append(p.HTTP.Methods, m)
		}
		slices.Sort(p.HTTP.Methods)
		src.Permissions = append(src.Permissions, p)
	}
	for i := range out {
		for j := range out[i].Sources { // what Consul's default policy might allow
			src := &out[i].Sources[j]
			src.Permissions = append(src.Permissions, SuggestedPermission{Action: "deny", HTTP: SuggestedHTTP{PathPrefix: "/"}})
		}
		out[i].Sources = append(out[i].Sources, SuggestedSource{Name: "*", Action: "deny"})
	}
	return out, nil
}

// generalize returns the path, or "~" and an expression if a part of it looks like
// an identifier.
func generalize(path string) string {
	segments, found := strings.Split(path, "/"), false
	for i, s := range segments {
		if identifier(s) {
			segments[i], found = "[^/]+", true
		} else {
			segments[i] = regexp.QuoteMeta(s)
		}
	}
	if !found {
		return path
	}
	return "~" + strings.Join(segments, "/")
}

// identifier reports whether a segment is a number, or hexadecimal of eight digits
// and more with or without dashes.
func identifier(s string) bool {
	if s == "" {
		return false
	}
	digits, hex := true, 0
	for _, r := range s {
		switch {
		case '0' <= r && r <= '9':
			hex++
		case 'a' <= r && r <= 'f' || 'A' <= r && r <= 'F':
			digits = false
			hex++
		case r == '-':
			digits = false
		default:
			return false
		}
	}
	return digits || hex >= 8 && strings.ContainsAny(s, "0123456789")
}

// JSON is the config entry for "consul config write".
func (s *Suggestion) JSON() ([]byte, error) {
	if s.Name == "" {
		return nil, errors.New("security: the suggestion has no name")
	}
	return json.MarshalIndent(s, "", "  ")
}

// HCL is the same in HCL.
func (s *Suggestion) HCL() ([]byte, error) {
	if s.Name == "" {
		return nil, errors.New("security: the suggestion has no name")
	}
	var b bytes.Buffer
	quote := func(v string) string { return strings.ReplaceAll(strconv.Quote(v), "${", "$${") }
	fmt.Fprintf(&b, "Kind = %s\nName = %s\nSources = [\n", quote(s.Kind), quote(s.Name))
	for _, src := range s.Sources {
		fmt.Fprintf(&b, "  {\n    Name = %s\n", quote(src.Name))
		if src.Action != "" {
			fmt.Fprintf(&b, "    Action = %s\n", quote(src.Action))
		}
		if src.Description != "" {
			fmt.Fprintf(&b, "    Description = %s\n", quote(src.Description))
		}
		if len(src.Permissions) > 0 {
			b.WriteString("    Permissions = [\n")
			for _, p := range src.Permissions {
				field, path := "PathExact", p.HTTP.PathExact
				if p.HTTP.PathRegex != "" {
					field, path = "PathRegex", p.HTTP.PathRegex
				} else if p.HTTP.PathPrefix != "" {
					field, path = "PathPrefix", p.HTTP.PathPrefix
				}
				fmt.Fprintf(&b, "      {\n        Action = %s\n        HTTP {\n          %s = %s\n", quote(p.Action), field, quote(path))
				if len(p.HTTP.Methods) > 0 {
					var methods []string
					for _, m := range p.HTTP.Methods {
						methods = append(methods, quote(m))
					}
					fmt.Fprintf(&b, "          Methods = [%s]\n", strings.Join(methods, ", "))
				}
				b.WriteString("        }\n      },\n")
			}
			b.WriteString("    ]\n")
		}
		b.WriteString("  },\n")
	}
	b.WriteString("]\n")
	return b.Bytes(), nil
}
