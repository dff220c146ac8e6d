package authz

import (
	"errors"
	"net/url"
	"strings"
	"testing"
)

func TestNormalize(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"/": "/", "/a/b": "/a/b", "/a/": "/a/", "/%61dmin": "/admin", "/a%20b": "/a b", "/caf%C3%A9": "/café", "/café": "/café",
		"/.well-known/x": "/.well-known/x", "/a..b": "/a..b", "/...": "/...", "/a.": "/a.", "/*": "/*", "/a+b": "/a+b", "/a:b@c=d&e,f!": "/a:b@c=d&e,f!",
	} {
		if got, err := Normalize(in); err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", "a", "*", "http://x/a", "//", "//a", "/a//b", "/a//", "/.", "/..", "/./a", "/../a", "/a/.", "/a/..", "/a/../b", "/a/./b",
		"/%2e", "/%2E%2e/a", "/a%2fb", "/a%2Fb", "/a%5cb", `/a\b`, "/a;b", "/a%3bb", "/..;/a", "/a%00", "/a\x00", "/a%0a", "/a\n", "/a\x7f", "/a%7f",
		"/%", "/%4", "/%zz", "/%2561", "/100%25", "/a#b", "/a%23b", "/a?b", "/a%3fb", "/%ff", "/\xff", "/%c0%af", "/%c0%ae%c0%ae/", "/%ed%a0%80",
	} {
		if got, err := Normalize(in); !errors.Is(err, ErrAmbiguous) {
			t.Errorf("%q: %q, %v, want a refusal", in, got, err)
		}
	}
}

func TestNormalizeAllocatesNothing(t *testing.T) { // not parallel: it counts the process's allocations
	if n := testing.AllocsPerRun(100, func() {
		if _, err := Normalize("/v1/items/7"); err != nil {
			t.Fail()
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestCheckGRPCPath(t *testing.T) {
	t.Parallel()
	for _, ok := range []string{"/grpc.testing.TestService/EmptyCall", "/S/M", "/a-b_c.D/e"} {
		if err := CheckGRPCPath(ok); err != nil {
			t.Errorf("%q: %v", ok, err)
		}
	}
	for _, bad := range []string{
		"", "/", "//", "Svc/M", "/Svc", "/Svc/", "//M", "//Svc/M", "/Svc//M", "/a/Svc/M", "/Svc/M/", "/Svc/%4d", "/S vc/M", "/Sv\x00c/M", "/Svc/M;x",
		"/Svc/M?x", "/Svc/M#x", `/Svc\M/x`, "/Sväc/M", "/./M", "/../M", "/Svc/..", "/Svc/.", "http://h/Svc/M",
	} {
		if err := CheckGRPCPath(bad); !errors.Is(err, ErrAmbiguous) {
			t.Errorf("%q: %v, want a refusal", bad, err)
		}
	}
}

// A path that was normalised stays as it is, also after a router has written it
// into a URL and another has parsed that: what was judged is what is routed.
func FuzzNormalize(f *testing.F) {
	for _, s := range []string{"/a/b", "/%61dmin", "/a%2fb", "//a", "/caf%C3%A9", "/x/%2e%2e/admin", "/a;b", "/%2561", "/ ", "/*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		once, err := Normalize(in)
		if err != nil {
			if once != "" {
				t.Fatalf("%q: refused, but %q", in, once)
			}
			return
		}
		twice, err := Normalize(once)
		if err != nil || twice != once {
			t.Fatalf("%q: %q, then %q, %v", in, once, twice, err)
		}
		for _, bad := range []string{"//", "/../", "/./", "\\", ";", "\x00", "%", "?", "#"} {
			if strings.Contains(once+"/", bad) && !strings.HasSuffix(once, "/") {
				t.Fatalf("%q became %q, which has %q", in, once, bad)
			}
		}
		again, err := url.ParseRequestURI((&url.URL{Path: once}).RequestURI())
		if err != nil || again.Path != once {
			t.Fatalf("%q: routed as %q, %v", once, again.Path, err)
		}
		if routed, err := Normalize(again.EscapedPath()); err != nil || routed != once {
			t.Fatalf("%q: judged again as %q, %v", once, routed, err)
		}
	})
}
