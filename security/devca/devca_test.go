package devca_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/weft-mesh/weft/security/devca"
)

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]devca.Config{
		"trust domain with a path":  {TrustDomain: "a.example/x"},
		"upper-case trust domain":   {TrustDomain: "A.example"},
		"cloud with a slash":        {Cloud: "a/b"},
		"negative ttl":              {TTL: -1},
		"ttl below X.509 precision": {TTL: time.Second},
	} {
		if _, err := devca.New(cfg); err == nil || !strings.HasPrefix(err.Error(), "devca: Config.") {
			t.Errorf("%s: New = %v, want an error that names the field", name, err)
		}
	}
}

func TestSourceNames(t *testing.T) {
	t.Parallel()
	ca, err := devca.New(devca.Config{TrustDomain: "a.example", Cloud: "gcp"})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"web": "spiffe://a.example/ns/default/dc/gcp/svc/web",
		"spiffe://a.example/ns/default/dc/azure/svc/x": "spiffe://a.example/ns/default/dc/azure/svc/x",
		"":                     "",
		"a/b":                  "",
		"spiffe://a.example":   "",
		"spiffe://b.example/x": "",
		"spiffe://a.example/é": "",
	} {
		s, err := ca.Source(name)
		if (err == nil) != (want != "") {
			t.Errorf("Source(%q) = %v, want ok %v", name, err, want != "")
		}
		if err != nil {
			continue
		}
		defer s.Close()
		svid, err := s.GetX509SVID()
		if err != nil {
			t.Fatal(err)
		}
		if got, _, err := x509svid.Verify(svid.Certificates, s); err != nil || got.String() != want {
			t.Errorf("Source(%q) is %v, %v; want %s", name, got, err, want)
		}
	}
}

func TestRenewsBeforeExpiry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca, err := devca.New(devca.Config{TTL: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		s, err := ca.Source("web")
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		serials := map[string]bool{}
		for range 100 {
			changed, born := s.Changed(), time.Now()
			<-changed
			if age := time.Since(born); age < 36*time.Minute || age > 54*time.Minute {
				t.Fatalf("renewed after %v, want 60 to 90 %% of an hour", age)
			}
			svid, err := s.GetX509SVID()
			if err != nil || time.Until(svid.Certificates[0].NotAfter) < 59*time.Minute {
				t.Fatalf("after renewal: %v, %v", svid, err)
			}
			serials[svid.Certificates[0].SerialNumber.String()] = true
		}
		if len(serials) != 100 {
			t.Errorf("%d serial numbers in 100 renewals", len(serials))
		}
	})
}

func TestCloseTwice(t *testing.T) {
	t.Parallel()
	ca, err := devca.New(devca.Config{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := ca.Source("web")
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	if err := s.Close(); err != nil {
		t.Errorf("second Close = %v", err)
	}
}

func TestSaysItIsForDevelopment(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	ca, err := devca.New(devca.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		s, err := ca.Source("web")
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
	}
	if n := strings.Count(log.String(), "msg=devca.in_use"); n != 1 || !strings.Contains(log.String(), "not for production") ||
		!strings.Contains(log.String(), "level=WARN") {
		t.Errorf("log of %d warnings:\n%s", n, log.String())
	}
}

func TestSharedDir(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "ca")
	// All start at once: one of them must win.
	cas := make([]*devca.CA, 8)
	var wg sync.WaitGroup
	for i := range cas {
		wg.Go(func() {
			var err error
			if cas[i], err = devca.New(devca.Config{Dir: dir}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	for _, ca := range cas {
		if !ca.Bundle().Equal(cas[0].Bundle()) {
			t.Fatal("processes that share a directory have different CAs")
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("directory has %v, %v; want one file", entries, err)
	}
	info, err := entries[0].Info()
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file mode %v, %v; want 0600", info.Mode(), err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory mode %v, %v; want 0700", info.Mode(), err)
	}
	if _, err := devca.New(devca.Config{Dir: dir, TrustDomain: "other.example"}); err == nil {
		t.Error("the CA of another trust domain was taken")
	}
}

func TestSharedDirRefuses(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(dir, file string) error{
		"open directory": func(dir, _ string) error { return os.Chmod(dir, 0o750) },
		"open file":      func(_, file string) error { return os.Chmod(file, 0o640) },
		"symbolic link": func(dir, file string) error {
			if err := os.Rename(file, filepath.Join(dir, "x")); err != nil {
				return err
			}
			return os.Symlink("x", file)
		},
		"garbage": func(_, file string) error { return os.WriteFile(file, []byte("no pem"), 0o600) },
		"huge":    func(_, file string) error { return os.WriteFile(file, make([]byte, 1<<20), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "ca")
			if _, err := devca.New(devca.Config{Dir: dir}); err != nil {
				t.Fatal(err)
			}
			if err := spoil(dir, filepath.Join(dir, "weft-devca.pem")); err != nil {
				t.Fatal(err)
			}
			if _, err := devca.New(devca.Config{Dir: dir}); err == nil || !strings.HasPrefix(err.Error(), "devca: ") {
				t.Errorf("New = %v, want a refusal", err)
			}
		})
	}
}

func TestExpiredCASaysSo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca, err := devca.New(devca.Config{TTL: 48 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		s, err := ca.Source("web")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 367*24*time.Hour)
		defer cancel()
		<-ctx.Done()
		if err := s.Status().Err; err == nil || !strings.Contains(err.Error(), "expired") {
			t.Errorf("Status().Err = %v after the CA's year", err)
		}
		_ = s.Close()
	})
}
