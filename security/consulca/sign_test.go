package consulca_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/internal/consultest/ctest"
	"github.com/weft-mesh/weft/security"
	"github.com/weft-mesh/weft/security/consulca"
)

// TestSign: with a token that may be one service and may not ask the agent where it
// is, the identity comes from Consul, and its key from this process.
func TestSign(t *testing.T) {
	t.Parallel()
	agent := ctest.Start(t, consultest.Config{Datacenter: "aws", ACL: true})
	token, _, err := agent.Client().ACL().TokenCreate(&api.ACLToken{ServiceIdentities: []*api.ACLServiceIdentity{{ServiceName: "web"}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	conf := api.DefaultConfig()
	conf.Address, conf.Token = agent.HTTPAddr(), token.SecretID
	c, err := api.NewClient(conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conf.Transport.CloseIdleConnections)
	dir := t.TempDir()
	open := func(ctx context.Context, service string, log *slog.Logger) (*consulca.Source, error) {
		return consulca.New(ctx, consulca.Config{Service: service, Client: c, GRPCAddr: agent.GRPCAddr(), Token: token.SecretID, CacheDir: dir, MaxBackoff: time.Second, Logger: log})
	}
	web, err := open(t.Context(), "web", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = web.Close() })
	id, err := security.ParseServiceID(idOf(t, web))
	if err != nil || id.Datacenter != "aws" || id.Service != "web" {
		t.Errorf("identity %+v, %v", id, err)
	}
	payments := join(t, agent, "payments")
	for _, pair := range [][2]*consulca.Source{{web, payments}, {payments, web}} {
		if err := handshake(t, pair[0], pair[1], idOf(t, pair[1])); err != nil {
			t.Error(err)
		}
	}
	denied, log := untilSaid(t, "service:write")
	if _, err := open(denied, "orders", log); !errors.Is(err, errSaid) || !strings.Contains(err.Error(), "service:write") || strings.Contains(err.Error(), token.SecretID) {
		t.Errorf("as another service: %v, want what the token needs and not the token", err)
	}
	if left := files(t, dir); len(left) > 0 {
		t.Errorf("left on disk: %v", left)
	}
}

func TestGRPCAddrRefused(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"8502", "unix://", "consul.example:8502", "http://10.0.0.1:8502", "::1"} {
		_, err := consulca.New(t.Context(), consulca.Config{Service: "web", Client: &api.Client{}, GRPCAddr: addr})
		if err == nil || !strings.HasPrefix(err.Error(), "consulca: Config.GRPCAddr") {
			t.Errorf("%q: %v, want an error that names the field", addr, err)
		}
	}
}

func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
