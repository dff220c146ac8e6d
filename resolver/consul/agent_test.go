package consul

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/weft-mesh/weft/resolver"
)

// selfServer is an agent that answers /v1/agent/self to one token only.
func selfServer(t *testing.T, token, locality string) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/agent/self" || r.Header.Get("X-Consul-Token") != token {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = w.Write([]byte(`{"Config":{"Datacenter":"dc1","NodeName":"n1"},"DebugConfig":{` + locality + `}}`))
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestAgentLocality(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		locality, token string
		want            resolver.Locality
		fails           bool
	}{
		"configured": {`"Locality":{"Region":"us-east-1","Zone":"us-east-1a"}`, "secret", resolver.Locality{Cloud: "aws", Region: "us-east-1", Zone: "us-east-1a"}, false},
		"none":       {`"Locality":null`, "secret", resolver.Locality{Cloud: "aws"}, false},
		"denied":     {``, "wrong", resolver.Locality{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := New(Config{Name: "aws", Address: selfServer(t, "secret", tt.locality), Token: tt.token})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close(t.Context())
			got, err := c.AgentLocality(t.Context())
			if got != tt.want || (err != nil) != tt.fails {
				t.Errorf("AgentLocality() = %v, %v", got, err)
			}
		})
	}
}

// The client of Consul's own API must follow a token file as the catalog does.
func TestAPIClientFollowsTokenFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	client, release, err := Config{Address: selfServer(t, "secret", `"x":1`), TokenFile: file}.APIClient()
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	self, err := client.Agent().Self()
	if err != nil {
		t.Fatal(err)
	}
	if self["Config"]["NodeName"] != "n1" {
		t.Errorf("Self() = %v", self)
	}
}
