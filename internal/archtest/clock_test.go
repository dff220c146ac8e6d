package archtest

import (
	"go/ast"
	"slices"
)

// wallClock are the files that may turn a time into one of the wall clock alone, and
// why. What they measure, such as the age of a file of an earlier run, follows the
// clock's jumps.
var wallClock = map[string]string{
	"mesh/config_resolve.go":              "the end date of permissive mode",
	"resolver/disk_format.go":             "when a snapshot on disk was true",
	"security/authz/condition.go":         "the time that rules speak of",
	"security/authz/zones.go":             "the time that rules speak of",
	"security/authz/consulauthz/cache.go": "when rules on disk were written",
	"security/internal/held/held.go":      "the text of an error, of a certificate's times",
	"security/internal/wall/wall.go":      "waits for moments of the wall clock",
	"security/permissive.go":              "the text of an error, of the end date of permissive mode",
	"security/verify.go":                  "the text of an error, of a certificate's times",
	"security/workload/jwt.go":            "a token's times",
}

// measuring are the rooms that the rule is for.
var measuring = []string{"mesh", "resolver", "balancer", "resilience", "security"}

// stripping are the methods of time.Time after which a difference is one of the wall clock.
var stripping = map[string]bool{
	"UnixNano": true, "UnixMicro": true, "UnixMilli": true, "Unix": true,
	"UTC": true, "Local": true, "In": true, "AddDate": true, "Truncate": true,
}

// monotonic: a deadline, a backoff, an age are measured with times as time.Now gives
// them. One that went through Unix time or text loses its monotonic reading, and what
// is measured with it jumps with the system's clock.
func monotonic(t *tree) (found []string) {
	for _, f := range t.files {
		if !f.ours() || f.test() || f.nested || !slices.Contains(measuring, f.room()) || wallClock[f.path] != "" {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg, _ := sel.X.(*ast.Ident)
			ofTime := pkg != nil && pkg.Name == "time"
			switch name := sel.Sel.Name; {
			case ofTime && (name == "Unix" || name == "UnixMilli" || name == "UnixMicro"),
				!ofTime && stripping[name] && (pkg == nil || importsOf(f)[pkg.Name] == nil),
				name == "Round" && len(call.Args) == 1 && isZero(call.Args[0]):
				found = append(found, f.at(n.Pos(), "%s loses the monotonic clock: keep the time.Time, or say in wallClock what the wall clock is for", name))
			}
			return true
		})
	}
	return found
}

func isZero(e ast.Expr) bool {
	lit, ok := e.(*ast.BasicLit)
	return ok && lit.Value == "0"
}
