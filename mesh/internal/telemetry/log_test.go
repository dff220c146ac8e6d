package telemetry

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLimited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := Limited(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))
		count := func(s string) int { return strings.Count(out.String(), s) }
		for range 100 {
			log.Warn("endpoint.ejected", "service", "pay", "endpoint", "a", "reason", "x")
			log.Warn("endpoint.ejected", "service", "pay", "endpoint", "b")
			log.Debug("debug")
		}
		if a, b, d := count("endpoint=a"), count("endpoint=b"), count("msg=debug"); a != eventBurst || b != eventBurst || d != 100 {
			t.Errorf("%d of a, %d of b, %d for debugging", a, b, d)
		}
		time.Sleep(eventEvery)
		log.With("service", "pay").Warn("endpoint.ejected", "endpoint", "a") // said by With: another thing
		log.Warn("endpoint.ejected", "service", "pay", "endpoint", "a")
		if got := count("suppressed=95"); got != 1 {
			t.Errorf("the count was told %d times:\n%s", got, out.String()[max(0, out.Len()-300):])
		}
	})
}

// Each event that the rooms log is in Events.
func TestEvents(t *testing.T) {
	t.Parallel()
	name := regexp.MustCompile(`^[a-z_]+\.[a-z_]+$`)
	loggers := []string{"Info", "Warn", "Error", "Debug", "Log", "event"}
	root := os.DirFS("../../..")
	found := 0
	for _, room := range []string{"mesh", "resolver", "balancer", "resilience", "security"} {
		err := fs.WalkDir(root, room, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") {
				return err
			}
			src, err := fs.ReadFile(root, p)
			if err != nil {
				return err
			}
			f, err := parser.ParseFile(token.NewFileSet(), p, src, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(f, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				sel, ok := call.Fun.(*ast.SelectorExpr)
				if !ok || !slices.Contains(loggers, sel.Sel.Name) {
					return true
				}
				for _, arg := range call.Args[:min(3, len(call.Args))] {
					lit, ok := arg.(*ast.BasicLit)
					if !ok || lit.Kind != token.STRING {
						continue
					}
					if s, _ := strconv.Unquote(lit.Value); name.MatchString(s) {
						found++
						if !slices.Contains(Events, s) {
							t.Errorf("%s logs %s, which is not in Events", p, s)
						}
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found < 30 {
		t.Errorf("only %d events were found", found)
	}
}

func TestFlags(t *testing.T) {
	t.Parallel()
	if got := (Retried | Failover | Slow).String(); got != "retried,failover,slow" {
		t.Error(got)
	}
	if NewAccess(nil, 1).Wants(true, 0) {
		t.Error("a log without a logger wants records")
	}
}

func TestHTTPEnds(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{200: "200", 404: "404", 599: Other, 99: Other, 1000: Other} {
		if got := HTTPEndName(HTTPStatus(status)); got != want {
			t.Errorf("%d ends as %s, want %s", status, got, want)
		}
	}
	if HTTPFailed(HTTPStatus(404), true) || !HTTPFailed(HTTPStatus(404), false) || !HTTPFailed(HTTPStatus(500), true) || HTTPFailed(HTTPStatus(304), false) {
		t.Error("404 is an error of the client only, 500 of both")
	}
	for pattern, want := range map[string]string{"GET /a/{b}": "/a/{b}", "shop/a": "/a", "/": "/", "": ""} {
		if got := HTTPRoute(pattern); got != want {
			t.Errorf("the route of %q is %q", pattern, got)
		}
	}
	if HTTPMethod("PROPFIND") != Other || HTTPMethod("") != "GET" {
		t.Error("methods are not bounded")
	}
}
