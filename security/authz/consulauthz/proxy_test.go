package consulauthz_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/internal/consultest/ctest"
	"github.com/weft-mesh/weft/security"
	"github.com/weft-mesh/weft/security/authz"
	"github.com/weft-mesh/weft/security/authz/consulauthz"
)

// proxied is the service api behind the proxy that is built into Consul.
type proxied struct {
	t      *testing.T
	a      *consultest.Agent
	addr   string
	domain string
	next   func() authz.Rules
	rules  authz.Rules
	certs  map[string]*tls.Config
	def    authz.Action
	row    int
}

// TestTruthTableOfTheProxy: each set of the four kinds of intentions that can be for one
// caller (exact, any source, any destination, both), with either default policy: the
// proxy lets exactly those callers in that are allowed here.
func TestTruthTableOfTheProxy(t *testing.T) {
	t.Parallel()
	for _, def := range []authz.Action{authz.Allow, authz.Deny} {
		t.Run("default "+string(def), func(t *testing.T) {
			t.Parallel()
			p := startProxied(t, def, "web", "web2", "api")
			said := map[bool]int{}
			kinds := []string{"", "allow", "deny"}
			for i := range 81 {
				row := [4]string{kinds[i%3], kinds[i/3%3], kinds[i/9%3], kinds[i/27]}
				p.put(row)
				for caller := range p.certs {
					got, rule := p.decide(caller, nil)
					want := p.letsIn(caller)
					if got != want {
						t.Errorf("web => api %q, * => api %q, web => * %q, * => * %q: %s is allowed %v by %q, the proxy says %v", row[0], row[1], row[2], row[3], caller, got, rule, want)
					}
					said[want]++
				}
			}
			t.Logf("the proxy let %d in and refused %d", said[true], said[false])
			if said[true] < 50 || said[false] < 50 {
				t.Error("it decided the same too often, so little is shown")
			}
		})
	}
}

// TestProxyOfPermissions: the proxy looks into no request, so it refuses whom an
// intention with permissions is for. Here the request decides.
func TestProxyOfPermissions(t *testing.T) {
	t.Parallel()
	p := startProxied(t, authz.Allow, "web")
	set(t, p.a, &api.ServiceConfigEntry{Kind: api.ServiceDefaults, Name: "api", Protocol: "http"})
	p.write("api", &api.SourceIntention{Name: "web", Permissions: []*api.IntentionPermission{{Action: "allow", HTTP: &api.IntentionHTTPPermission{PathPrefix: "/v1"}}, {Action: "deny", HTTP: &api.IntentionHTTPPermission{PathPrefix: "/"}}}}, p.marker())
	p.settle()
	if p.letsIn("web") {
		t.Error("the proxy lets in whom permissions are for")
	}
	for path, want := range map[string]bool{"/v1/x": true, "/other": false} {
		if got, rule := p.decide("web", &authz.Request{Protocol: "http", Method: "GET", Path: path}); got != want {
			t.Errorf("%s is allowed %v by %q", path, got, rule)
		}
	}
}

func startProxied(t *testing.T, def authz.Action, callers ...string) *proxied {
	t.Helper()
	p := &proxied{t: t, def: def, certs: map[string]*tls.Config{}}
	p.a = ctest.Start(t, consultest.Config{HCL: fmt.Sprintf("default_intention_policy = %q", def)})
	roots, _, err := p.a.Client().Agent().ConnectCARoots(nil)
	if err != nil {
		t.Fatal(err)
	}
	p.domain = roots.TrustDomain
	p.addr = fmt.Sprintf("127.0.0.1:%d", ctest.FreePort(t))
	ctest.Sidecar(t, p.a, "-service", "api", "-service-addr", greeter(t), "-listen", p.addr)
	for _, name := range callers {
		leaf, _, err := p.a.Client().Agent().ConnectCALeaf(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := tls.X509KeyPair([]byte(leaf.CertPEM), []byte(leaf.PrivateKeyPEM))
		if err != nil {
			t.Fatal(err)
		}
		// Who answers is no matter here, but whom it lets in.
		p.certs[name] = &tls.Config{Certificates: []tls.Certificate{cert}, InsecureSkipVerify: true}
	}
	p.next = watching(t, consulauthz.Config{Service: "api", API: conf(t, p.a)})
	// Until it has its certificate the proxy refuses everybody.
	p.put([4]string{"", "allow", "", ""})
	for began := time.Now(); !p.letsIn("web"); <-time.After(20 * time.Millisecond) {
		if time.Since(began) > patience {
			t.Fatal("the proxy refuses everybody")
		}
	}
	return p
}

// greeter is a service without TLS that says one byte to each caller.
func greeter(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte{1}) // the caller notices if it is missing
			_ = c.Close()
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return l.Addr().String()
}

// put puts a row of the table in force: web => api, * => api, web => *, * => *.
func (p *proxied) put(row [4]string) {
	p.t.Helper()
	of := func(names [2]string, actions []string) (out []*api.SourceIntention) {
		for i, act := range actions {
			if act != "" {
				out = append(out, &api.SourceIntention{Name: names[i], Action: api.IntentionAction(act)})
			}
		}
		return out
	}
	names := [2]string{"web", "*"}
	p.write("*", of(names, row[2:])...)
	p.write("api", append(of(names, row[:2]), p.marker())...)
	p.settle()
}

func (p *proxied) write(dst string, sources ...*api.SourceIntention) {
	p.t.Helper()
	if len(sources) > 0 {
		set(p.t, p.a, entry(dst, sources...))
	} else if _, err := p.a.Client().ConfigEntries().Delete(api.ServiceIntentions, dst, nil); err != nil {
		p.t.Fatal(err)
	}
}

// marker is a caller of whom only this row says so; written last, it tells that all of
// the row is known.
func (p *proxied) marker() *api.SourceIntention {
	p.row++
	return &api.SourceIntention{Name: p.marked(), Action: api.IntentionActionAllow, Description: "row"}
}

func (p *proxied) marked() string { return fmt.Sprintf("marker-%d", p.row) }

// settle waits until the agent, whom the proxy asks, and we know the row.
func (p *proxied) settle() {
	p.t.Helper()
	body, err := json.Marshal(map[string]string{"Target": "api", "ClientCertURI": p.id(p.marked()), "ClientCertSerial": "01"})
	if err != nil {
		p.t.Fatal(err)
	}
	for began := time.Now(); ; <-time.After(5 * time.Millisecond) {
		var said struct{ Reason string }
		req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, "http://"+p.a.HTTPAddr()+"/v1/agent/connect/authorize", bytes.NewReader(body))
		if err != nil {
			p.t.Fatal(err)
		}
		req.Close = true
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			p.t.Fatal(err)
		}
		err = json.NewDecoder(resp.Body).Decode(&said)
		_ = resp.Body.Close() // it was only read
		if err != nil {
			p.t.Fatal(err)
		}
		if strings.Contains(said.Reason, p.marked()) {
			break
		}
		if time.Since(began) > patience {
			p.t.Fatalf("the agent does not know row %d: %q", p.row, said.Reason)
		}
	}
	for {
		for _, in := range p.rules.Intentions {
			if in.SourceName == p.marked() {
				if p.rules.Default != p.def {
					p.t.Fatalf("default %q, want %q", p.rules.Default, p.def)
				}
				return
			}
		}
		p.rules = p.next()
	}
}

func (p *proxied) id(name string) string {
	return "spiffe://" + p.domain + "/ns/default/dc/dc1/svc/" + name
}

// decide is what the rules say of a caller's request; nil: of its connection.
func (p *proxied) decide(caller string, r *authz.Request) (allowed bool, rule string) {
	p.t.Helper()
	policy := authz.Compile(p.rules, authz.Scope{Service: "api", TrustDomain: p.domain})
	if len(policy.Problems()) > 0 {
		p.t.Fatal(policy.Problems())
	}
	if r == nil {
		r = &authz.Request{}
	}
	r.Caller = security.PeerID{ID: request(caller, "").Caller.ID}
	id, err := security.ParseServiceID(p.id(caller))
	if err == nil {
		r.Caller.ID, err = id.ID()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	d := policy.Decide(r)
	return d.Allowed, d.Rule
}

// letsIn reports whether the proxy lets a caller through to the service.
func (p *proxied) letsIn(caller string) bool {
	p.t.Helper()
	for began := time.Now(); ; <-time.After(20 * time.Millisecond) {
		raw, err := net.Dial("tcp", p.addr)
		if err == nil {
			conn := tls.Client(raw, p.certs[caller])
			_, err = io.ReadFull(conn, make([]byte, 1))
			_ = conn.Close() // what counts was read
		}
		var alert tls.AlertError
		var op *net.OpError
		switch {
		case err == nil:
			return true
		case errors.As(err, &alert), errors.As(err, &op) && op.Op == "remote error":
			return false // it says that the certificate is not wanted
		case time.Since(began) > patience: // it is not ready yet, or has no certificate yet
			p.t.Fatalf("the proxy answers %s with: %v", caller, err)
		}
	}
}
