package consulca_test

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/weft-mesh/weft/internal/testpki"
	"github.com/weft-mesh/weft/security/consulca"
)

func TestConfigRefused(t *testing.T) {
	t.Parallel()
	ca := testpki.New(t, "b.example")
	for name, cfg := range map[string]consulca.Config{
		"Service empty":     {},
		"Service is a path": {Service: "../x"},
		"Wait negative":     {Service: "web", Wait: -1},
		"Wait too long":     {Service: "web", Wait: time.Hour},
		"MaxBackoff":        {Service: "web", MaxBackoff: -1},
		"nil bundle":        {Service: "web", ExtraBundles: []*x509bundle.Bundle{nil}},
		"empty bundle":      {Service: "web", ExtraBundles: []*x509bundle.Bundle{x509bundle.New(ca.TrustDomain)}},
		"two bundles":       {Service: "web", ExtraBundles: []*x509bundle.Bundle{ca.Bundle(), ca.Bundle()}},
	} {
		if _, err := consulca.New(t.Context(), cfg); err == nil || !strings.HasPrefix(err.Error(), "consulca: Config.") {
			t.Errorf("%s: New = %v, want an error that names the field", name, err)
		}
	}
}

// agent answers as Consul's does, but with what a test tells it.
type agent struct {
	mu    sync.Mutex
	leaf  answer
	roots answer
	asked map[string][]string // indexes sent, by path
	news  chan struct{}
}

type answer struct {
	index int
	body  any
	code  int // 0 is 200
}

func (a *agent) set(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
	close(a.news)
	a.news = make(chan struct{})
}

func (a *agent) indexes(path string) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.asked[path]...)
}

func (a *agent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sent := r.URL.Query().Get("index")
	path := r.URL.Path[strings.Index(r.URL.Path, "/ca/")+4:]
	a.mu.Lock()
	a.asked[path] = append(a.asked[path], sent)
	a.mu.Unlock()
	for {
		a.mu.Lock()
		ans, news := a.leaf, a.news
		if path == "roots" {
			ans = a.roots
		}
		a.mu.Unlock()
		if sent != "" && sent == strconv.Itoa(ans.index) && ans.code == 0 {
			select {
			case <-news:
				continue
			case <-r.Context().Done():
				return
			}
		}
		if ans.code != 0 {
			http.Error(w, "no\nleader\x1b[31m", ans.code)
			return
		}
		w.Header().Set("X-Consul-Index", strconv.Itoa(ans.index))
		_ = json.NewEncoder(w).Encode(ans.body) // the client may be gone
		return
	}
}

func leafOf(t *testing.T, svid *x509svid.SVID) *api.LeafCert {
	t.Helper()
	chain, key, err := svid.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return &api.LeafCert{CertPEM: string(chain), PrivateKeyPEM: string(key)}
}

func rootsOf(td string, cas ...*testpki.CA) *api.CARootList {
	list := &api.CARootList{TrustDomain: td}
	for _, ca := range cas {
		p := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Cert.Raw})
		list.Roots = append(list.Roots, &api.CARoot{ID: "x", RootCertPEM: string(p)})
	}
	return list
}

const td = "11111111-2222-3333-4444-555555555555.consul"

func id(service string) string { return "spiffe://" + td + "/ns/default/dc/aws/svc/" + service }

func fake(t *testing.T, ca *testpki.CA) (*agent, *api.Client) {
	t.Helper()
	a := &agent{asked: map[string][]string{}, news: make(chan struct{})}
	a.leaf = answer{index: 10, body: leafOf(t, ca.SVID(t, id("web")))}
	a.roots = answer{index: 20, body: rootsOf(td, ca)}
	srv := httptest.NewServer(a)
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	conf := api.DefaultConfig()
	conf.Address = srv.Listener.Addr().String()
	c, err := api.NewClient(conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conf.Transport.CloseIdleConnections)
	return a, c
}

func start(t *testing.T, cfg consulca.Config) *consulca.Source {
	t.Helper()
	cfg.Service, cfg.MaxBackoff = "web", 5*time.Millisecond
	s, err := consulca.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func serial(t *testing.T, s *consulca.Source) string {
	t.Helper()
	svid, err := s.GetX509SVID()
	if err != nil {
		t.Fatal(err)
	}
	return svid.Certificates[0].SerialNumber.String()
}

func TestBadAnswersKeepTheLastIdentity(t *testing.T) {
	t.Parallel()
	ca, stranger := testpki.New(t, td), testpki.New(t, td)
	for name, spoil := range map[string]func(a *agent){
		"error":                 func(a *agent) { a.leaf = answer{code: 500} },
		"empty leaf":            func(a *agent) { a.leaf = answer{index: 11, body: &api.LeafCert{}} },
		"leaf of another":       func(a *agent) { a.leaf = answer{index: 11, body: leafOf(t, ca.SVID(t, id("other")))} },
		"leaf of a strange CA":  func(a *agent) { a.leaf = answer{index: 11, body: leafOf(t, stranger.SVID(t, id("web")))} },
		"leaf not of Consul":    func(a *agent) { a.leaf = answer{index: 11, body: leafOf(t, ca.SVID(t, "spiffe://"+td+"/web"))} },
		"no roots":              func(a *agent) { a.roots = answer{index: 21, body: rootsOf(td)} },
		"roots of a strange CA": func(a *agent) { a.roots = answer{index: 21, body: rootsOf(td, stranger)} },
		"roots of another td":   func(a *agent) { a.roots = answer{index: 21, body: rootsOf("b.consul", ca)} },
		"roots without td":      func(a *agent) { a.roots = answer{index: 21, body: rootsOf("", ca)} },
		"root no PEM": func(a *agent) {
			a.roots = answer{index: 21, body: &api.CARootList{TrustDomain: td, Roots: []*api.CARoot{{RootCertPEM: "x"}}}}
		},
		"null root": func(a *agent) {
			a.roots = answer{index: 21, body: &api.CARootList{TrustDomain: td, Roots: []*api.CARoot{nil}}}
		},
		"too many": func(a *agent) {
			a.roots = answer{index: 21, body: &api.CARootList{TrustDomain: td, Roots: make([]*api.CARoot, 101)}}
		},
		"no index":    func(a *agent) { a.leaf = answer{body: a.leaf.body} },
		"not JSON":    func(a *agent) { a.roots = answer{index: 21, body: "x"} },
		"rate limits": func(a *agent) { a.leaf = answer{code: 503} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, c := fake(t, ca)
			s := start(t, consulca.Config{Client: c})
			before := serial(t, s)
			a.set(func() { spoil(a) })
			for s.Status().Err == nil {
				wait(t)
			}
			if text := s.Status().Err.Error(); strings.ContainsAny(text, "\x1b") || !strings.HasPrefix(text, "consulca: ") {
				t.Errorf("Status().Err = %q", text)
			}
			if serial(t, s) != before {
				t.Error("the identity changed")
			}
			b, err := s.GetX509BundleForTrustDomain(ca.TrustDomain)
			if err != nil || !b.Equal(ca.Bundle()) {
				t.Errorf("the bundle changed: %v, %v", b, err)
			}
			changed := s.Changed()
			a.set(func() {
				a.leaf = answer{index: 30, body: leafOf(t, ca.SVID(t, id("web")))}
				a.roots = answer{index: 31, body: rootsOf(td, ca)}
			})
			<-changed
			for s.Status().Err != nil {
				wait(t)
			}
		})
	}
}

func TestIndexRules(t *testing.T) {
	t.Parallel()
	ca := testpki.New(t, td)
	a, c := fake(t, ca)
	s := start(t, consulca.Config{Client: c})
	changed := s.Changed()
	next := ca.SVID(t, id("web"))
	a.set(func() { a.leaf = answer{index: 5, body: leafOf(t, next)} }) // lower: the agent lost its state
	<-changed
	if serial(t, s) != next.Certificates[0].SerialNumber.String() {
		t.Error("the leaf of the agent's new state was not taken")
	}
	for len(a.indexes("leaf/web")) < 4 {
		wait(t)
	}
	if got := strings.Join(a.indexes("leaf/web"), " "); got != " 10  5" {
		t.Errorf("indexes sent: %q, want none, 10, none again after the lower one, 5", got)
	}
	a.set(func() { a.leaf = answer{code: 500} })
	for s.Status().Err == nil {
		wait(t)
	}
	a.set(func() { a.leaf = answer{index: 6, body: leafOf(t, next)} })
	for s.Status().Err != nil {
		wait(t)
	}
	// "", 10, "", 5, which failed, and then none.
	if got := a.indexes("leaf/web"); len(got) < 5 || got[4] != "" {
		t.Errorf("indexes sent: %q, want none after an error", got)
	}
}

func TestExtraBundles(t *testing.T) {
	t.Parallel()
	ca, other := testpki.New(t, td), testpki.New(t, "b.example")
	_, c := fake(t, ca)
	s := start(t, consulca.Config{Client: c, ExtraBundles: []*x509bundle.Bundle{other.Bundle()}})
	for _, x := range []*testpki.CA{ca, other} {
		if b, err := s.GetX509BundleForTrustDomain(x.TrustDomain); err != nil || !b.Equal(x.Bundle()) {
			t.Errorf("bundle of %s: %v, %v", x.TrustDomain, b, err)
		}
	}
	ctx, log := untilSaid(t, "Consul's own")
	clash := consulca.Config{Client: c, Service: "web", Logger: log, ExtraBundles: []*x509bundle.Bundle{testpki.New(t, td).Bundle()}}
	if _, err := consulca.New(ctx, clash); !errors.Is(err, errSaid) || !strings.Contains(err.Error(), "Consul's own") {
		t.Errorf("New with a bundle for Consul's own trust domain = %v", err)
	}
}

func TestCloseTwice(t *testing.T) {
	t.Parallel()
	_, c := fake(t, testpki.New(t, td))
	s := start(t, consulca.Config{Client: c})
	_ = s.Close()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.GetX509SVID(); err != nil {
		t.Errorf("after Close: %v, want the last identity", err)
	}
}
