package archtest

import (
	"go/token"
	"strings"
	"testing"
)

var rules = []rule{
	{"dependency direction", direction},
	{"cores know no transport", cores},
	{"configuration says what zero means", configComments},
	{"every exported field has a comment", fieldComments},
	{"small interfaces", smallInterfaces},
	{"every exported name has a comment", undocumented},
	{"file size", fileSize},
	{"no init", noInit},
	{"no sleeping tests", noSleep},
	{"what is measured does not follow the wall clock", monotonic},
	{"no skipped tests", noSkip},
	{"what the race detector leaves out is run without it", counted},
	{"only the caller's logger", ownLogger},
	{"no shared state", noGlobals},
	{"goroutine leak checks", leakCheck},
	{"tested", tested},
	{"package docs and examples", packageDocs},
	{"the README's code is compiled", readme},
	{"each defence has its test", defended},
	{"no hidden pages", hiddenPages},
	{"nothing left undone", noLoose},
}

func TestRulesFind(t *testing.T) {
	t.Parallel()
	const m = modulePath
	for _, tc := range []struct {
		name  string
		check func(*tree) []string
		files map[string]string
		want  string // the finding's beginning; empty: none
	}{
		{"leaf imports joint", direction, map[string]string{"resolver/a.go": "package resolver\nimport \"" + m + "/balancer\""}, "resolver/a.go:2: resolver must not import balancer"},
		{"joint imports leaf", direction, map[string]string{"balancer/a.go": "package balancer\nimport \"" + m + "/resolver/static\""}, ""},
		{"joint imports security", direction, map[string]string{"balancer/a.go": "package balancer\nimport \"" + m + "/security\""}, "balancer/a.go:2:"},
		{"rig from code", direction, map[string]string{"resolver/a.go": "package resolver\nimport \"" + m + "/internal/rig\""}, "resolver/a.go:2:"},
		{"shared leaf from code", direction, map[string]string{"balancer/a.go": "package balancer\nimport \"" + m + "/internal/coalesce\""}, ""},
		{"shared leaf imports leaf", direction, map[string]string{"internal/coalesce/a.go": "package coalesce\nimport \"" + m + "/resolver\""}, "internal/coalesce/a.go:2:"},
		{"rig from test", direction, map[string]string{"resolver/a_test.go": "package resolver\nimport \"" + m + "/internal/rig\""}, ""},
		{"rig imports mesh", direction, map[string]string{"internal/rig/a.go": "package rig\nimport \"" + m + "/mesh\""}, "internal/rig/a.go:2:"},
		{"test imports mesh", direction, map[string]string{"security/a_test.go": "package security\nimport \"" + m + "/mesh\""}, "security/a_test.go:2:"},
		{"example imports mesh", direction, map[string]string{"examples/x/a.go": "package main\nimport \"" + m + "/mesh\""}, ""},
		{"new top level", direction, map[string]string{"util/a.go": "package util"}, "util/a.go:1: the top level has no folder"},

		{"core imports grpc", cores, map[string]string{"balancer/pick.go": "package balancer\nimport _ \"google.golang.org/grpc/codes\""}, "balancer/pick.go:2: only grpc*.go"},
		{"grpc face", cores, map[string]string{"balancer/grpc_x.go": "package balancer\nimport _ \"google.golang.org/grpc\""}, ""},
		{"http in grpc face", cores, map[string]string{"balancer/grpc.go": "package balancer\nimport _ \"net/http/httptrace\""}, "balancer/grpc.go:2: only http*.go"},
		{"http api", cores, map[string]string{"resolver/consul/a.go": "package consul\nimport _ \"net/http\""}, ""},

		{"config field bare", configComments, map[string]string{"mesh/a.go": "package mesh\ntype Config struct {\n// Size is the size.\nSize int\n}"}, "mesh/a.go:4: Config.Size"},
		{"config field said", configComments, map[string]string{"mesh/a.go": "package mesh\ntype AConfig struct {\n// Size is the size; 0: 16.\nSize int\n}"}, ""},
		{"config fields share", configComments, map[string]string{"mesh/a.go": "package mesh\ntype Config struct {\n// A and B are sizes; empty: none.\nA string\nB string\n}"}, ""},
		{"config fields do not share", configComments, map[string]string{"mesh/a.go": "package mesh\ntype Config struct {\n// A is a size; empty: none.\nA string\nB string\n}"}, "mesh/a.go:5: Config.B"},
		{"config embeds", configComments, map[string]string{"mesh/a.go": "package mesh\ntype Config struct {\n*Other\n}"}, "mesh/a.go:3: Config.Other"},
		{"policy interface", configComments, map[string]string{"mesh/a.go": "package mesh\ntype Policy interface{ A() }"}, ""},

		{"bare field", fieldComments, map[string]string{"mesh/a.go": "package mesh\ntype T struct {\nA int // A is one.\nB int\n}"}, "mesh/a.go:4: T.B has no comment"},
		{"shared comment", fieldComments, map[string]string{"mesh/a.go": "package mesh\ntype T struct {\n// A and B are one.\nA int\nB int\nc int\n}"}, ""},

		{"wide interface", smallInterfaces, map[string]string{"mesh/a.go": "package mesh\ntype X interface{ A(); B(); C() }"}, "mesh/a.go:2: X has 3 methods"},
		{"wide by embedding", smallInterfaces, map[string]string{"mesh/a.go": "package mesh\nimport \"io\"\ntype X interface{ y; io.Reader }\ntype y interface{ A(); B() }"}, "mesh/a.go:3: X has 3 methods"},
		{"wide but unexported", smallInterfaces, map[string]string{"mesh/a.go": "package mesh\ntype x interface{ A(); B(); C() }"}, ""},
		{"small interface", smallInterfaces, map[string]string{"mesh/a.go": "package mesh\ntype X interface{ A(); B() }"}, ""},

		{"bare function", undocumented, map[string]string{"mesh/a.go": "package mesh\nfunc F() {}"}, "mesh/a.go:2: F has no comment"},
		{"bare method", undocumented, map[string]string{"mesh/a.go": "package mesh\nfunc (t *T[K]) F() {}"}, "mesh/a.go:2: F has no comment"},
		{"method of unexported", undocumented, map[string]string{"mesh/a.go": "package mesh\nfunc (t *t) F() {}"}, ""},
		{"bare type", undocumented, map[string]string{"mesh/a.go": "package mesh\ntype T int"}, "mesh/a.go:2: type T"},
		{"bare value", undocumented, map[string]string{"mesh/a.go": "package mesh\nvar Err = 1"}, "mesh/a.go:2: Err"},
		{"said value", undocumented, map[string]string{"mesh/a.go": "package mesh\nconst (\nA = 1 // A is one.\n)"}, ""},

		{"long file", fileSize, map[string]string{"mesh/a_test.go": "package mesh\n" + strings.Repeat("\n", maxLines)}, "mesh/a_test.go:500: 501 lines"},
		{"long median", fileSize, map[string]string{"mesh/a.go": "package mesh\n" + strings.Repeat("\n", medianLines)}, "mesh/a.go:1: the median"},
		{"generated file", fileSize, map[string]string{"mesh/a.go": "// Code generated by hand. DO NOT EDIT.\n\npackage mesh\n" + strings.Repeat("\n", maxLines)}, ""},

		{"Unix time", monotonic, map[string]string{"resilience/a.go": "package resilience\nimport \"time\"\nvar a = time.Now().UnixNano()"}, "resilience/a.go:3: UnixNano"},
		{"from Unix time", monotonic, map[string]string{"balancer/a.go": "package balancer\nimport \"time\"\nvar a = time.Unix(1, 0)"}, "balancer/a.go:3: Unix"},
		{"stripped", monotonic, map[string]string{"balancer/a.go": "package balancer\nimport \"time\"\nvar a = time.Now().Round(0)"}, "balancer/a.go:3: Round"},
		{"rounded duration", monotonic, map[string]string{"balancer/a.go": "package balancer\nimport \"time\"\nvar a = time.Since(b).Round(time.Second)"}, ""},
		{"the wall clock's business", monotonic, map[string]string{"security/verify.go": "package security\nimport \"time\"\nvar a = time.Now().UTC()"}, ""},

		{"init", noInit, map[string]string{"mesh/a.go": "package mesh\nfunc init() {}"}, "mesh/a.go:2: init function"},
		{"init of the policy", noInit, map[string]string{"balancer/grpc_lb.go": "package balancer\nfunc init() {}"}, ""},

		{"sleep", noSleep, map[string]string{"mesh/a_test.go": "package mesh\nimport \"time\"\nfunc f() { time.Sleep(1) }"}, "mesh/a_test.go:3: time.Sleep"},
		{"sleep in a bubble", noSleep, map[string]string{"mesh/a_test.go": "package mesh\nimport (\n\"time\"\n_ \"testing/synctest\"\n)\nfunc f() { time.Sleep(1) }"}, ""},

		{"skip", noSkip, map[string]string{"mesh/a_test.go": "package mesh\nfunc f() { t.Skip() }"}, "mesh/a_test.go:2: t.Skip"},
		{"not under the race detector", counted, map[string]string{"mesh/a_test.go": "package mesh\nfunc TestA() {\nif raceEnabled {}\n}"}, "mesh/a_test.go:3: TestA asks for raceEnabled"},
		{"count", counted, map[string]string{"mesh/a_test.go": "package mesh\nconst raceEnabled = false\nfunc TestAllocA() {\nif raceEnabled {}\n}"}, ""},

		{"log", ownLogger, map[string]string{"mesh/a.go": "package mesh\nimport \"log\""}, "mesh/a.go:2: package log"},
		{"print", ownLogger, map[string]string{"mesh/a.go": "package mesh\nfunc f() { fmt.Println() }"}, "mesh/a.go:2: fmt.Println"},
		{"print in a program", ownLogger, map[string]string{"examples/a/a.go": "package main\nfunc f() { fmt.Println() }"}, ""},
		{"default logger", ownLogger, map[string]string{"mesh/a.go": "package mesh\nvar l = slog.Default()"}, "mesh/a.go:2: slog.Default"},
		{"given logger", ownLogger, map[string]string{"mesh/a.go": "package mesh\nfunc f() { logger.Info() }"}, ""},
		{"global mutex", noGlobals, map[string]string{"mesh/a.go": "package mesh\nvar mu sync.Mutex"}, "mesh/a.go:2: package-level variable mu"},
		{"global pointer", noGlobals, map[string]string{"mesh/a.go": "package mesh\nvar p = &atomic.Pointer[int]{}"}, "mesh/a.go:2: package-level variable p"},
		{"late constant", noGlobals, map[string]string{"mesh/a.go": "package mesh\nvar p = sync.OnceValue(f)\nvar q = 1"}, ""},

		{"goroutine", leakCheck, map[string]string{"mesh/a.go": "package mesh\nfunc f() { go f() }", "mesh/a_test.go": "package mesh"}, "mesh/a.go:2: a goroutine starts here"},
		{"goroutine checked", leakCheck, map[string]string{"mesh/a.go": "package mesh\nfunc f() { go f() }", "mesh/a_test.go": "package mesh\nfunc TestMain(m *testing.M) { goleak.VerifyTestMain(m) }"}, ""},

		{"no tests", tested, map[string]string{"mesh/a.go": "package mesh"}, "mesh/a.go:1: package mesh has no test file"},
		{"program", tested, map[string]string{"examples/x/a.go": "package main"}, ""},

		{"short package doc", packageDocs, map[string]string{"mesh/meshtest/a.go": "// Package meshtest.\npackage meshtest"}, "mesh/meshtest/a.go:2: the comment of package mesh/meshtest has 1 lines"},
		{"no example", packageDocs, map[string]string{"mesh/a.go": "// A\n// B\n// C\npackage mesh", "mesh/a_test.go": "package mesh\nfunc Example() { f() }"}, "mesh/a.go:4: package mesh has no Example"},
		{"example", packageDocs, map[string]string{"mesh/a.go": "// A\n// B\n// C\npackage mesh", "mesh/a_test.go": "package mesh\nfunc Example() {\nf()\n// Output: a\n}"}, ""},

		{"README not compiled", readme, map[string]string{"mesh/a.go": "package mesh", "README.md": "# x\n```go\nf()\n```\n"}, "README.md:2: the first Go block"},
		{"README compiled", readme, map[string]string{"mesh/a.go": "package mesh", "README.md": "```go\nf() // x\ng()\n```\n", "mesh/e_test.go": "package mesh\nfunc e() {\n\tf()   // x\n\n\tg()\n}"}, ""},
		{"README without code", readme, map[string]string{"mesh/a.go": "package mesh", "README.md": "x"}, "README.md:1: no ```go block"},

		{"test gone", defended, map[string]string{"mesh/a_test.go": "package mesh\nfunc TestA() {}", "SECURITY.md": "| threat | test |\n|---|---|\n| x | `mesh` TestA, TestB |"}, "SECURITY.md:3: TestB is not a test of \"mesh\""},
		{"test of another package", defended, map[string]string{"mesh/a_test.go": "package mesh\nfunc TestA() {}", "security/x/a_test.go": "package x\nfunc TestX() {}", "SECURITY.md": "All tests are in `mesh`\n| threat | test |\n|---|---|\n| x | TestA; `x` TestX, TestA |"}, "SECURITY.md:4: TestA is not a test of \"security/x\""},
		{"row without a test", defended, map[string]string{"SECURITY.md": "| threat | test |\n|---|---|\n| x | trust us |"}, "SECURITY.md:3: the row names no test"},
		{"another table", defended, map[string]string{"SECURITY.md": "| version | fixes |\n|---|---|\n| x | y |"}, ""},
		{"profiler", hiddenPages, map[string]string{"mesh/a.go": "package mesh\nimport _ \"net/http/pprof\""}, "mesh/a.go:2: package net/http/pprof"},
		{"default mux", hiddenPages, map[string]string{"mesh/a.go": "package mesh\nfunc f() { http.Handle(\"/\", nil) }"}, "mesh/a.go:2: http.Handle"},
		{"own mux", hiddenPages, map[string]string{"mesh/a.go": "package mesh\nfunc f() { http.NewServeMux().Handle(\"/\", nil) }"}, ""},

		{"unfinished", noLoose, map[string]string{"mesh/a.go": "package mesh\n// TO" + "DO: more"}, "mesh/a.go:2: \"TO" + "DO\""},
		{"unfinished phrase", noLoose, map[string]string{"x.md": "Good enough For" + " now."}, "x.md:1:"},
		{"ordinary words", noLoose, map[string]string{"x.md": "A mastodon for nowhere."}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			repo := &tree{fset: token.NewFileSet()}
			for name, src := range tc.files {
				if err := repo.add(name, src, false); err != nil {
					t.Fatal(err)
				}
			}
			found := tc.check(repo)
			switch {
			case tc.want == "" && len(found) > 0:
				t.Errorf("found %q, want nothing", found)
			case tc.want != "" && (len(found) != 1 || !strings.HasPrefix(found[0], tc.want)):
				t.Errorf("found %q, want one that begins with %q", found, tc.want)
			}
		})
	}
}
