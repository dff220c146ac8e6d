package mesh_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/hashicorp/consul/api"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/internal/consultest/ctest"
	"github.com/weft-mesh/weft/internal/testpki"
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resolver/consul"
	"github.com/weft-mesh/weft/security"
	"github.com/weft-mesh/weft/security/authz"
	"github.com/weft-mesh/weft/security/authz/consulauthz"
	"github.com/weft-mesh/weft/security/consulca"
	"github.com/weft-mesh/weft/security/devca"
	"github.com/weft-mesh/weft/security/files"
)

// secrets is a mesh whose secrets are known, and all that a user could read of it.
type secrets struct {
	t      *testing.T
	agent  *consultest.Agent
	known  testpki.Secrets
	seen   *everything
	reader *sdkmetric.ManualReader
	spans  *tracetest.SpanRecorder
}

func (s *secrets) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(s.seen, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// member is a configuration of which everything is told.
func (s *secrets) member(service, token string) mesh.Config {
	cfg := at(s.agent, service)
	cfg.Clouds[0].Token = token
	cfg.Clouds[0].HTTPAuth = "user:" + secretPassword
	cfg.Logger = s.logger()
	cfg.MeterProvider = sdkmetric.NewMeterProvider(sdkmetric.WithReader(s.reader))
	cfg.TracerProvider = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(s.spans))
	cfg.Telemetry = mesh.TelemetryConfig{TraceRatio: 1, AccessLog: s.logger(), AccessRatio: 1, EndpointLabels: true}
	cfg.Authorization.SampleAllowed = 1
	cfg.SnapshotDir = s.t.TempDir()
	return cfg
}

// show writes a value in every way that one could log it.
func (s *secrets) show(values ...any) {
	for _, v := range values {
		s.seen.show(v)
		text, err := json.Marshal(v)
		fmt.Fprintf(s.seen, "%s %v %s\n", text, err, fmt.Sprint(v))
		s.logger().Info("shown", "value", v)
	}
}

// measured shows every attribute of every metric and span.
func (s *secrets) measured() (metrics, spans int) {
	var rm metricdata.ResourceMetrics
	if err := s.reader.Collect(context.Background(), &rm); err != nil {
		s.t.Fatal(err)
	}
	for _, sm := range rm.ScopeMetrics {
		for _, m := range sm.Metrics {
			metrics++
			text, err := json.Marshal(m) // with the attributes of each point
			fmt.Fprintf(s.seen, "%s %v %+v\n", text, err, m)
		}
	}
	for _, span := range s.spans.Ended() {
		spans++
		fmt.Fprintf(s.seen, "%s %v %v %v %v\n", span.Name(), span.Attributes(), span.Events(), span.Status(), span.Links())
	}
	return metrics, spans
}

const secretPassword, secretSubject = "pa55-c4nary-word", "c4nary-subject-9d1f"

// token signs a token with one key, of which the provider may know another.
func (s *secrets) token(name string, key *ecdsa.PrivateKey) string {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "k"))
	if err != nil {
		s.t.Fatal(err)
	}
	claims, err := json.Marshal(map[string]any{"iss": "https://issuer.example", "aud": "payments", "sub": secretSubject, "exp": time.Now().Add(time.Hour).Unix()})
	if err != nil {
		s.t.Fatal(err)
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		s.t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		s.t.Fatal(err)
	}
	s.known.Token(name, text)
	for i, part := range strings.Split(text, ".")[1:] {
		s.known.Token(fmt.Sprintf("part %d of %s", i+1, name), part)
	}
	return text
}

// TestSecretsAreNotShown: no token, no private key and no part of one is in what a mesh
// logs, answers, measures or prints, whatever it is asked to print, while calls are
// allowed, denied and fail.
func TestSecretsAreNotShown(t *testing.T) {
	t.Parallel()
	agent := ctest.Start(t, consultest.Config{ACL: true})
	s := &secrets{t: t, agent: agent, known: testpki.Secrets{}, seen: &everything{}, reader: sdkmetric.NewManualReader(), spans: tracetest.NewSpanRecorder()}
	const readAll = `service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }`
	grant(t, agent, tokenPayments, `service "payments" { policy = "write" } `+readAll)
	grant(t, agent, tokenCheckout, `service "checkout" { policy = "write" } service "orders" { policy = "write" } `+readAll)
	for name, token := range map[string]string{"the server's ACL token": tokenPayments, "the client's ACL token": tokenCheckout, "an unknown ACL token": tokenUnknown,
		"the bootstrap token": consultest.Token, "the password": secretPassword, "a claim": secretSubject} {
		s.known.Token(name, token)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	forger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good, forged := s.token("the bearer token", key), s.token("the forged token", forger)
	jwks, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "k", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}

	cfg := s.member("payments", tokenPayments)
	cfg.Authorization.NoIntentions = true
	cfg.Authorization.Rules = authz.Rules{
		Default:   authz.Deny,
		Providers: []authz.Provider{{Name: "issuer", Issuer: "https://issuer.example", Audiences: []string{"payments"}, Keys: jwks}},
		Intentions: []authz.Intention{{SourceName: "*", DestinationName: "payments", Permissions: []authz.Permission{{
			Action: authz.Allow, HTTP: &authz.HTTPPermission{PathPrefix: "/"}, JWT: &authz.JWTRequirement{Providers: []authz.JWTProviderRequirement{{Name: "issuer"}}},
		}}}},
	}
	server := start(t, "payments-0", cfg)
	s.keyOnDisk(cfg.SnapshotDir)
	s.show(cfg, cfg.Clouds[0], cfg.Authorization)

	client := s.member("checkout", tokenCheckout)
	m := join(t, client)
	s.keyOnDisk(client.SnapshotDir)
	conn, err := m.Dial("payments")
	if err != nil {
		t.Fatal(err)
	}
	s.show(conn.Target())
	rpc := grpc_testing.NewTestServiceClient(conn)
	get := func(path string, header ...string) (int, error) {
		req, err := http.NewRequestWithContext(bound(t), http.MethodGet, "http://payments"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(header) > 0 {
			req.Header.Set("Authorization", "Bearer "+header[0])
		}
		resp, err := m.HTTPClient().Do(req)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		s.show(string(body), resp.Header)
		return resp.StatusCode, err
	}
	until(t, "a call with a good token is allowed", func() bool {
		_, err := rpc.UnaryCall(metadata.AppendToOutgoingContext(bound(t), "authorization", "Bearer "+good), &grpc_testing.SimpleRequest{})
		code, herr := get("/items/7", good)
		s.show(fmt.Sprint(err), fmt.Sprint(herr))
		return err == nil && herr == nil && code == http.StatusOK
	})
	if code, err := get("/items/7?access_token=" + good); code != http.StatusOK {
		t.Errorf("token in the query: %d, %v", code, err)
	}
	_, err = rpc.UnaryCall(metadata.AppendToOutgoingContext(bound(t), "authorization", "Bearer "+forged), &grpc_testing.SimpleRequest{})
	code, herr := get("/items/7?access_token="+forged, forged)
	s.show(fmt.Sprint(err), fmt.Sprint(herr))
	if err == nil || code == http.StatusOK {
		t.Errorf("a forged token is accepted: %v, %d", err, code)
	}
	for _, m := range []*mesh.Mesh{m, server.m} {
		s.show(m.Settings(), m.Status(), m.Federation(), m.Routes(), m.Authorizer().Problems())
		if err := m.PrintConfig(s.seen); err != nil {
			t.Error(err)
		}
	}
	s.sources()
	s.refused()
	if metrics, spans := s.measured(); metrics < 5 || spans < 5 {
		t.Errorf("%d metrics and %d spans: the test sees nothing", metrics, spans)
	}
	leave(t, m) // fmt reads what goroutines write to
	s.show(m)

	s.seen.mu.Lock()
	text := s.seen.buf.String()
	s.seen.mu.Unlock()
	for _, want := range []string{"mesh.joined", "authz.denied", "authz.allowed", `"msg":"access"`, "ACL not found", "svid.rotated"} {
		if !strings.Contains(text, want) {
			t.Errorf("what was collected lacks %q: the test sees nothing", want)
		}
	}
	if found := s.known.Find(text); found != "" {
		t.Error(found)
	}
	// And a leak would be seen: one record of one member's logger is enough.
	s.logger().Debug("planted", "request", map[string]string{"authorization": "Bearer " + good})
	s.seen.mu.Lock()
	defer s.seen.mu.Unlock()
	if s.known.Find(s.seen.buf.String()) == "" {
		t.Error("a planted token is not found")
	}
}

// keyOnDisk learns the key that Consul's agent made for a member.
func (s *secrets) keyOnDisk(dir string) {
	s.t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "identity-*.json"))
	if err != nil || len(found) != 1 {
		s.t.Fatalf("%v, %v", found, err)
	}
	text, err := os.ReadFile(found[0])
	if err != nil {
		s.t.Fatal(err)
	}
	var c struct{ Key string }
	if err := json.Unmarshal(text, &c); err != nil {
		s.t.Fatal(err)
	}
	key, err := pemKey(c.Key)
	if err != nil {
		s.t.Fatal(err)
	}
	s.known.Key(s.t, "the key of "+filepath.Base(found[0]), key)
}

// sources shows each kind of identity, and what it was made of.
func (s *secrets) sources() {
	t := s.t
	shown := func(name string, src interface {
		security.Source
		Close() error
	}, more ...any) {
		svid, err := src.GetX509SVID()
		if err != nil {
			t.Fatal(err)
		}
		s.known.Key(t, "the key by "+name, svid.PrivateKey)
		_, err = src.GetX509BundleForTrustDomain(testpki.New(t, "unknown.example").TrustDomain)
		// Closed, because fmt reads what goroutines write to.
		if err := src.Close(); err != nil {
			t.Fatal(err)
		}
		s.show(append(more, src, fmt.Sprint(err))...)
		if st, ok := src.(interface{ Status() security.Status }); ok {
			s.show(st.Status())
		}
	}
	conf := consulca.Config{Service: "orders", Client: s.agent.Client(), GRPCAddr: s.agent.GRPCAddr(), Token: tokenCheckout, Logger: s.logger()}
	ca, err := consulca.New(bound(t), conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ca.Close() })
	shown("consulca", ca, conf)

	dev, err := devca.New(devca.Config{Dir: filepath.Join(t.TempDir(), "d"), Logger: s.logger()})
	if err != nil {
		t.Fatal(err)
	}
	src, err := dev.Source("web")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = src.Close() })
	shown("devca", src, dev)

	pki := testpki.New(t, "files.example")
	cert, key, err := pki.SVID(t, "spiffe://files.example/web").Marshal()
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := pki.Bundle().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	fconf := files.Config{Cert: filepath.Join(dir, "c"), Key: filepath.Join(dir, "k"), Bundle: filepath.Join(dir, "b"), Logger: s.logger()}
	for name, text := range map[string][]byte{fconf.Cert: cert, fconf.Key: key, fconf.Bundle: bundle} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fsrc, err := files.New(bound(t), fconf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = fsrc.Close() })
	shown("files", fsrc, fconf)
	// Files that are mixed up are told of, without what is in them.
	for _, half := range [][]byte{key[:len(key)/2], append(append([]byte(nil), key...), cert...), cert} {
		if err := os.WriteFile(fconf.Key, half, 0o600); err != nil {
			t.Fatal(err)
		}
		s.show(fmt.Sprint(fsrc.Reload()))
	}
	if err := os.WriteFile(fconf.Bundle, key, 0o600); err != nil {
		t.Fatal(err)
	}
	s.show(fmt.Sprint(fsrc.Reload()), fsrc.Status())
}

// refused shows what says no, and what it was made of.
func (s *secrets) refused() {
	t := s.t
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_, err := mesh.Join(ctx, s.member("stranger", tokenUnknown))
	if err == nil {
		t.Error("an unknown token is enough to join")
	}
	s.show(fmt.Sprint(err), err)
	catalog, err := consul.New(consul.Config{Address: s.agent.HTTPAddr(), Token: tokenUnknown, HTTPAuth: "user:" + secretPassword, Logger: s.logger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = catalog.Close(context.Background()) })
	rules := consulauthz.Config{Service: "payments", API: &api.Config{Address: s.agent.HTTPAddr(), Token: tokenPayments}, Logger: s.logger()}
	src, err := consulauthz.New(rules)
	if err != nil {
		t.Fatal(err)
	}
	s.show(catalog, src, rules)
	_, err = mesh.Effective(mesh.Config{Service: "x", Clouds: []consul.Config{{Address: "http://user:" + secretPassword + "@127.0.0.1:1?token=" + tokenUnknown}}})
	s.show(fmt.Sprint(err), consul.Config{Address: "http://user:" + secretPassword + "@127.0.0.1:1?token=" + tokenUnknown})
	_, err = consul.New(consul.Config{Address: "http://user:" + secretPassword + "@127.0.0.1:1?token=" + tokenUnknown})
	s.show(fmt.Sprint(err))
}

func pemKey(text string) (crypto.Signer, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("no PEM")
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	return key.(crypto.Signer), nil
}
