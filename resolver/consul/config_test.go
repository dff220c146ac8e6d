package consul

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestConfigFromEnvironment(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for k, v := range map[string]string{
		"CONSUL_HTTP_ADDR": "consul.example:8501", "CONSUL_HTTP_SSL": "true", "CONSUL_HTTP_SSL_VERIFY": "false",
		"CONSUL_HTTP_TOKEN": "from-env", "CONSUL_HTTP_TOKEN_FILE": token, "CONSUL_HTTP_AUTH": "me:pw",
		"CONSUL_CACERT": "ca.pem", "CONSUL_CAPATH": "cas", "CONSUL_CLIENT_CERT": "c.pem", "CONSUL_CLIENT_KEY": "k.pem",
		"CONSUL_TLS_SERVER_NAME": "server.dc1.consul", "CONSUL_NAMESPACE": "ns1", "CONSUL_PARTITION": "p1",
	} {
		t.Setenv(k, v)
	}
	r, err := Config{}.resolve()
	if err != nil {
		t.Fatal(err)
	}
	if r.base.String() != "https://consul.example:8501" || r.HTTPAuth != "me:pw" || r.Namespace != "ns1" || r.Partition != "p1" ||
		r.TLS != (TLSConfig{CAFile: "ca.pem", CAPath: "cas", CertFile: "c.pem", KeyFile: "k.pem", ServerName: "server.dc1.consul", SkipVerify: true}) {
		t.Errorf("resolved %+v, %v", r.Config, r.base)
	}
	if tok, err := (&client{cfg: r}).currentToken(); err != nil || tok != "from-file" {
		t.Errorf("token %q, %v: the file wins, as in Consul's tools", tok, err)
	}
	r, err = Config{Address: "127.0.0.1:1", Token: "mine"}.resolve()
	if err != nil {
		t.Fatal(err)
	}
	if tok, _ := (&client{cfg: r}).currentToken(); tok != "mine" {
		t.Errorf("token %q: Config wins over the environment", tok)
	}
}

func TestConfigRefuses(t *testing.T) {
	t.Parallel()
	for says, cfg := range map[string]Config{
		"exclude each other": {Datacenter: "a", Peer: "b"},
		"Name":               {Name: "a\nb"},
		"Wait":               {Wait: time.Millisecond},
		"MaxConns":           {MaxConns: -1},
		"TTL":                {TTL: time.Millisecond},
		"DeregisterAfter":    {DeregisterAfter: -1},
		"credentials":        {Address: "http://me:secret@consul:8500"},
		"ftp":                {Address: "ftp://consul"},
		"not host:port":      {Address: "http://"},
		"without a path":     {Address: "unix://"},
		"no-such-ca.pem":     {Address: "https://c:8501", TLS: TLSConfig{CAFile: "no-such-ca.pem"}},
		"client cert":        {Address: "https://c:8501", TLS: TLSConfig{CertFile: "only.pem"}},
	} {
		_, err := New(cfg)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: %v, want %q", cfg, err, says)
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]Config{
		"consul": {}, "gcp": {Datacenter: "gcp"}, "beta": {Peer: "beta"}, "aws": {Name: "aws", Datacenter: "dc7"},
	} {
		if c := open(t, cfg); c.Name() != want {
			t.Errorf("name %q, want %q", c.Name(), want)
		}
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ addr, base, socket string }{
		{"consul:8500", "http://consul:8500", ""},
		{"http://[::1]:8500/", "http://[::1]:8500", ""},
		{"https://proxy.example/consul/", "https://proxy.example/consul", ""},
		{"unix:///run/consul.sock", "http://localhost", "/run/consul.sock"},
	} {
		base, socket, err := parseAddress(tt.addr, false)
		if err != nil || base.String() != tt.base || socket != tt.socket {
			t.Errorf("%s: %v, %q, %v", tt.addr, base, socket, err)
		}
	}
	if base, _, _ := parseAddress("http://consul:8500", true); base.Scheme != "https" {
		t.Error("an http scheme undid CONSUL_HTTP_SSL")
	}
}
