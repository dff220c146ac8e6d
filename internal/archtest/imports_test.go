package archtest

import (
	"go/ast"
	"path"
	"strconv"
	"strings"
)

// mayImport lists, for each room, the rooms that it may import beside itself.
// resolver, resilience and security are leaves, balancer joins endpoints with
// outcomes, mesh composes.
var mayImport = map[string][]string{
	"resolver":   nil,
	"resilience": nil,
	"security":   nil,
	"balancer":   {"resolver", "resilience"},
	"mesh":       {"resolver", "resilience", "security", "balancer"},
	"internal":   {"resolver", "resilience", "security", "balancer"},
	"examples":   {"resolver", "resilience", "security", "balancer", "mesh", "internal"},
	"benchmarks": {"resolver", "resilience", "security", "balancer", "mesh", "internal"},
}

// leaves are what every room may import of internal/: they know nothing of ours.
var leaves = []string{"internal/coalesce", "internal/ownfile"}

// importsOf returns the import specs of f with their paths.
func importsOf(f *file) map[string]*ast.ImportSpec {
	specs := map[string]*ast.ImportSpec{}
	for _, s := range f.ast.Imports {
		p, err := strconv.Unquote(s.Path.Value)
		if err == nil {
			specs[p] = s
		}
	}
	return specs
}

// direction: dependencies point from the front door to the leaves. Test files
// may use the rigs under internal/ as well, and all may use its leaves.
func direction(t *tree) (found []string) {
	for _, f := range t.files {
		if !f.ours() {
			continue
		}
		allowed, known := mayImport[f.room()]
		if !known {
			found = append(found, f.at(f.ast.Package, "the top level has no folder %q: put the file into one of its rooms", f.room()))
			continue
		}
		for p, spec := range importsOf(f) {
			rest, ok := strings.CutPrefix(p, modulePath+"/")
			if !ok {
				continue
			}
			to, _, _ := strings.Cut(rest, "/")
			leaf := contains(leaves, f.dir())
			if !leaf && (to == f.room() || contains(allowed, to) || contains(leaves, rest)) || f.test() && to == "internal" {
				continue
			}
			found = append(found, f.at(spec.Pos(), "%s must not import %s: move what is shared down into a leaf, or let package mesh join them", f.room(), rest))
		}
	}
	return found
}

// facesOf lists packages that speak a transport's API by their nature, so that
// splitting a face off would leave no core.
var facesOf = map[string]string{
	"resolver/consul":   "Consul's API is HTTP",
	"security/consulca": "Consul's API is HTTP",

	"security/authz/consulauthz": "Consul's API is HTTP",

	"security/workload": "the Workload API is gRPC",
	"mesh/meshtest":     "it is made of servers and connections of both kinds",
}

// cores: what a room decides is decided without knowing the transport. The gRPC
// face is grpc*.go, the HTTP face http*.go.
func cores(t *tree) (found []string) {
	for _, f := range t.files {
		if !f.ours() || f.test() || !f.public() && f.room() == "internal" || f.nested || f.room() == "examples" {
			continue
		}
		if _, ok := facesOf[f.dir()]; ok {
			continue
		}
		for p, spec := range importsOf(f) {
			for root, prefix := range map[string]string{"google.golang.org/grpc": "grpc", "net/http": "http"} {
				if p != root && !strings.HasPrefix(p, root+"/") || strings.HasPrefix(path.Base(f.path), prefix) {
					continue
				}
				found = append(found, f.at(spec.Pos(), "only %s*.go may import %s here: move what needs it into the face", prefix, p))
			}
		}
	}
	return found
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}
