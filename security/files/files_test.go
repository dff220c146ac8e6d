package files_test

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/internal/testpki"
	"github.com/weft-mesh/weft/security/files"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const id = "spiffe://a.example/web"

// dir is a directory of identity files.
type dir struct {
	t    testing.TB
	path string
}

func (d dir) write(name string, data []byte) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(d.path, name), data, 0o600); err != nil {
		d.t.Fatal(err)
	}
}

func (d dir) svid(svid *x509svid.SVID) {
	d.t.Helper()
	cert, key, err := svid.Marshal()
	if err != nil {
		d.t.Fatal(err)
	}
	d.write("cert.pem", cert)
	d.write("key.pem", key)
}

func (d dir) bundle(name string, cas ...*testpki.CA) {
	d.t.Helper()
	var all []byte
	for _, ca := range cas {
		pem, err := ca.Bundle().Marshal()
		if err != nil {
			d.t.Fatal(err)
		}
		all = append(all, pem...)
	}
	d.write(name, all)
}

func (d dir) config() files.Config {
	in := func(name string) string { return filepath.Join(d.path, name) }
	return files.Config{Cert: in("cert.pem"), Key: in("key.pem"), Bundle: in("bundle.pem")}
}

func newDir(t testing.TB, ca *testpki.CA) dir {
	d := dir{t, t.TempDir()}
	d.svid(ca.SVID(t, id))
	d.bundle("bundle.pem", ca)
	return d
}

func serial(t testing.TB, s *files.Source) string {
	t.Helper()
	svid, err := s.GetX509SVID()
	if err != nil {
		t.Fatal(err)
	}
	return svid.Certificates[0].SerialNumber.String()
}

func TestConfigRefused(t *testing.T) {
	t.Parallel()
	good := newDir(t, testpki.New(t, "a.example")).config()
	for field, change := range map[string]func(*files.Config){
		"Cert": func(c *files.Config) { c.Cert = "" }, "Key": func(c *files.Config) { c.Key = "" },
		"Bundle":    func(c *files.Config) { c.Bundle = "" },
		"Poll":      func(c *files.Config) { c.Poll = -1 },
		"Federated": func(c *files.Config) { c.Federated = map[string]string{"spiffe://b.example": "x"} },
	} {
		cfg := good
		change(&cfg)
		if _, err := files.New(t.Context(), cfg); err == nil || !strings.HasPrefix(err.Error(), "files: Config."+field) {
			t.Errorf("%s: New = %v", field, err)
		}
	}
	cfg := good
	cfg.Federated = map[string]string{"a.example": good.Bundle}
	if _, err := files.New(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "own trust domain") {
		t.Errorf("a second bundle for the own trust domain: %v", err)
	}
	cfg = good
	cfg.Key += ".missing"
	if _, err := files.New(t.Context(), cfg); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing key: %v", err)
	}
}

func TestPicksUpNewFiles(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca, next, b := testpki.New(t, "a.example"), testpki.New(t, "a.example"), testpki.New(t, "b.example")
		d := newDir(t, ca)
		d.bundle("b.pem", b)
		cfg := d.config()
		cfg.Federated = map[string]string{"b.example": filepath.Join(d.path, "b.pem")}
		s, err := files.New(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if x, err := s.GetX509BundleForTrustDomain(b.TrustDomain); err != nil || !x.Equal(b.Bundle()) {
			t.Errorf("federated bundle: %v, %v", x, err)
		}
		changed, began := s.Changed(), time.Now()
		d.bundle("bundle.pem", ca, next)
		<-changed
		if took := time.Since(began); took > files.DefaultPoll {
			t.Errorf("the bundle was taken after %v", took)
		}
		before := serial(t, s)
		changed = s.Changed()
		d.svid(next.SVID(t, id))
		<-changed
		if serial(t, s) == before {
			t.Error("the SVID was not taken")
		}
		d.svid(next.SVID(t, id))
		before = serial(t, s)
		if err := s.Reload(); err != nil || serial(t, s) == before {
			t.Errorf("Reload = %v", err)
		}
	})
}

func TestBadFilesKeepTheLastIdentity(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, d dir, ca *testpki.CA){
		"other key": func(t *testing.T, d dir, ca *testpki.CA) {
			_, key, err := ca.SVID(t, id).Marshal()
			if err != nil {
				t.Fatal(err)
			}
			d.write("key.pem", key)
		},
		"half a certificate": func(t *testing.T, d dir, ca *testpki.CA) {
			d.write("cert.pem", []byte("-----BEGIN CERTIFICATE-----\nMIIB"))
		},
		"empty bundle": func(t *testing.T, d dir, ca *testpki.CA) { d.write("bundle.pem", nil) },
		"strange CA":   func(t *testing.T, d dir, ca *testpki.CA) { d.svid(testpki.New(t, "a.example").SVID(t, id)) },
		"expired": func(t *testing.T, d dir, ca *testpki.CA) {
			d.svid(ca.SVID(t, id, func(s *testpki.Spec) { s.Template.NotAfter = time.Now().Add(-time.Second) }))
		},
		"no SPIFFE ID": func(t *testing.T, d dir, ca *testpki.CA) {
			d.svid(ca.SVID(t, id, func(s *testpki.Spec) { s.URIs = []string{"https://a.example/"} }))
		},
		"huge": func(t *testing.T, d dir, ca *testpki.CA) { d.write("cert.pem", bytes.Repeat([]byte("x"), 2<<20)) },
		"gone": func(t *testing.T, d dir, ca *testpki.CA) {
			if err := os.Remove(filepath.Join(d.path, "cert.pem")); err != nil {
				t.Fatal(err)
			}
		},
		"key others can write": func(t *testing.T, d dir, ca *testpki.CA) {
			if err := os.Chmod(filepath.Join(d.path, "key.pem"), 0o620); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ca := testpki.New(t, "a.example") // certificates of the bubble's time
				d := newDir(t, ca)
				var log bytes.Buffer
				cfg := d.config()
				cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
				s, err := files.New(t.Context(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				before := serial(t, s)
				spoil(t, d, ca)
				time.Sleep(3 * files.DefaultPoll)
				synctest.Wait()
				if serial(t, s) != before || s.Status().Err == nil {
					t.Errorf("identity changed %v, Status().Err = %v", serial(t, s) != before, s.Status().Err)
				}
				if n := strings.Count(log.String(), "msg=svid.rejected"); n != 1 {
					t.Errorf("%d events in 3 polls, want 1:\n%s", n, log.String())
				}
				if strings.Contains(log.String(), "PRIVATE") {
					t.Error("a key is in the log")
				}
				if err := os.RemoveAll(filepath.Join(d.path, "key.pem")); err != nil {
					t.Fatal(err)
				}
				d.svid(ca.SVID(t, id))
				d.bundle("bundle.pem", ca)
				if err := s.Reload(); err != nil || s.Status().Err != nil || serial(t, s) == before {
					t.Errorf("good files again: %v, %v", err, s.Status().Err)
				}
			})
		})
	}
}

func TestWarnsOfAReadableKey(t *testing.T) {
	t.Parallel()
	d := newDir(t, testpki.New(t, "a.example"))
	if err := os.Chmod(filepath.Join(d.path, "key.pem"), 0o644); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cfg := d.config()
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	s, err := files.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Reload()
	_ = s.Close()
	_ = s.Close()
	if n := strings.Count(log.String(), "msg=key.readable"); n != 1 {
		t.Errorf("%d warnings:\n%s", n, log.String())
	}
}
