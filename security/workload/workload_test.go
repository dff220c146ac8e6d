package workload_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/internal/testpki"
	"github.com/weft-mesh/weft/internal/workloadtest"
	source "github.com/weft-mesh/weft/security/workload"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const web = "spiffe://a.example/web"

func open(t testing.TB, cfg source.Config) *source.Source {
	t.Helper()
	cfg.MaxBackoff = 20 * time.Millisecond
	s, err := source.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func serial(t testing.TB, s *source.Source) string {
	t.Helper()
	svid, err := s.GetX509SVID()
	if err != nil {
		t.Fatal(err)
	}
	return svid.Certificates[0].SerialNumber.String()
}

// until waits for what another process, here the fake agent, brings about.
func until(t testing.TB, cond func() bool) {
	t.Helper()
	for !cond() {
		select {
		case <-t.Context().Done():
			t.Fatal("the test's time is over")
		case <-time.After(time.Millisecond):
		}
	}
}

func TestFollowsTheAgent(t *testing.T) {
	t.Parallel()
	a, ca, b := workloadtest.New(t), testpki.New(t, "a.example"), testpki.New(t, "b.example")
	a.Set(nil, []*testpki.CA{ca}, []*testpki.CA{b}, ca.SVID(t, "spiffe://a.example/first"), ca.SVID(t, web))
	first, s := open(t, source.Config{Addr: a.Addr}), open(t, source.Config{Addr: a.Addr, ID: web})
	if got := first.Status().ID; got != "spiffe://a.example/first" {
		t.Errorf("without Config.ID: %s, want the first", got)
	}
	if got := s.Status(); got.ID != web || strings.Join(got.TrustDomains, " ") != "a.example b.example" {
		t.Errorf("Status = %+v", got)
	}
	if x, err := s.GetX509BundleForTrustDomain(b.TrustDomain); err != nil || !x.Equal(b.Bundle()) {
		t.Errorf("federated bundle: %v, %v", x, err)
	}
	for range 5 {
		before, changed := serial(t, s), s.Changed()
		a.Set(nil, []*testpki.CA{ca}, nil, ca.SVID(t, web))
		<-changed
		if serial(t, s) == before {
			t.Error("the new SVID was not taken")
		}
	}
	if _, err := s.GetX509BundleForTrustDomain(b.TrustDomain); err == nil {
		t.Error("a bundle that the agent withdrew is still there")
	}
}

func TestKeepsTheIdentityThroughFailures(t *testing.T) {
	t.Parallel()
	ca := testpki.New(t, "a.example")
	for name, tt := range map[string]struct {
		fail func(t *testing.T, a *workloadtest.Agent)
		heal func(a *workloadtest.Agent)
	}{
		"denied": {fail: func(_ *testing.T, a *workloadtest.Agent) {
			a.Set(status.Error(codes.PermissionDenied, "no identity issued"), []*testpki.CA{ca}, nil)
		}},
		"socket gone": {
			fail: func(_ *testing.T, a *workloadtest.Agent) { a.Stop() },
			heal: func(a *workloadtest.Agent) { a.Start() },
		},
		"other identity only": {fail: func(t *testing.T, a *workloadtest.Agent) {
			a.Set(nil, []*testpki.CA{ca}, nil, ca.SVID(t, "spiffe://a.example/other"))
		}},
		"expired": {fail: func(t *testing.T, a *workloadtest.Agent) {
			a.Set(nil, []*testpki.CA{ca}, nil, ca.SVID(t, web, func(s *testpki.Spec) { s.Template.NotAfter = time.Now().Add(-time.Second) }))
		}},
		"of another CA": {fail: func(t *testing.T, a *workloadtest.Agent) {
			a.Set(nil, []*testpki.CA{ca}, nil, testpki.New(t, "a.example").SVID(t, web))
		}},
		"nothing": {fail: func(_ *testing.T, a *workloadtest.Agent) { a.Set(nil, []*testpki.CA{ca}, nil) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log lockedBuffer
			a := workloadtest.New(t)
			a.Set(nil, []*testpki.CA{ca}, nil, ca.SVID(t, web))
			s := open(t, source.Config{Addr: a.Addr, ID: web, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			before := serial(t, s)
			tt.fail(t, a)
			until(t, func() bool { return s.Status().Err != nil })
			if serial(t, s) != before || !strings.HasPrefix(s.Status().Err.Error(), "workload: ") {
				t.Errorf("identity changed %v; %v", serial(t, s) != before, s.Status().Err)
			}
			changed := s.Changed()
			if tt.heal != nil {
				tt.heal(a)
			}
			a.Set(nil, []*testpki.CA{ca}, nil, ca.SVID(t, web))
			<-changed
			until(t, func() bool { return s.Status().Err == nil })
			if log := log.String(); !strings.Contains(log, "msg=identity.lost") || !strings.Contains(log, "msg=identity.connected") {
				t.Errorf("log:\n%s", log)
			}
		})
	}
}

func TestInvalidArgumentIsFinal(t *testing.T) {
	t.Parallel()
	ca, invalid := testpki.New(t, "a.example"), status.Error(codes.InvalidArgument, "bad request")
	var log lockedBuffer
	a := workloadtest.New(t)
	a.Set(nil, []*testpki.CA{ca}, nil, ca.SVID(t, web))
	s := open(t, source.Config{Addr: a.Addr, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	a.Set(invalid, []*testpki.CA{ca}, nil)
	until(t, func() bool { return strings.Contains(log.String(), "msg=identity.refused") })
	if n := a.Asked(); n != 1 {
		t.Errorf("asked %d times, want 1", n)
	}
	if _, err := s.GetX509SVID(); err != nil || s.Status().Err == nil {
		t.Errorf("identity %v, status %v; want the last one and the reason", err, s.Status().Err)
	}
	if _, err := source.New(t.Context(), source.Config{Addr: a.Addr}); err == nil || !strings.Contains(err.Error(), "bad request") {
		t.Errorf("New = %v, want what the agent said, at once", err)
	}
}

func TestNewIsBounded(t *testing.T) {
	t.Parallel()
	denied := workloadtest.New(t)
	denied.Set(status.Error(codes.PermissionDenied, "no identity issued"), nil, nil)
	for name, tt := range map[string]struct{ addr, want string }{
		"no socket": {"unix://" + filepath.Join(t.TempDir(), "none"), "cannot be reached"},
		"denied":    {denied.Addr, "no identity issued"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := source.New(ctx, source.Config{Addr: tt.addr, MaxBackoff: time.Millisecond})
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: New = %v", name, err)
		}
	}
}

func TestConfigRefused(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]source.Config{
		"http address":  {Addr: "http://x"},
		"tcp with name": {Addr: "tcp://localhost:1"},
		"ID":            {Addr: "unix:///x", ID: "web"},
		"MaxBackoff":    {Addr: "unix:///x", MaxBackoff: -1},
	} {
		if _, err := source.New(t.Context(), cfg); err == nil || !strings.HasPrefix(err.Error(), "workload: Config.") {
			t.Errorf("%s: New = %v", name, err)
		}
	}
}

func TestEnvironment(t *testing.T) {
	a, ca := workloadtest.New(t), testpki.New(t, "a.example")
	a.Set(nil, []*testpki.CA{ca}, nil, ca.SVID(t, web))
	t.Setenv("SPIFFE_ENDPOINT_SOCKET", a.Addr)
	s := open(t, source.Config{})
	if got := s.Status().ID; got != web {
		t.Errorf("identity %s", got)
	}
	_ = s.Close()
	if err := s.Close(); err != nil {
		t.Errorf("second Close = %v", err)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func ExampleNew() {
	_, err := source.New(context.Background(), source.Config{Addr: "localhost:8081"})
	fmt.Println(err)
	// Output: workload: Config.Addr or SPIFFE_ENDPOINT_SOCKET is "localhost:8081": workload endpoint socket URI must have a "tcp" or "unix" scheme
}
