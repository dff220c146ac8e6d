package consul

import (
	"net/http"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/resolver"
)

// TestRegisterInsists: a connection that dies, or an agent that just came back, does
// not end an announcement; a refusal does, at once.
func TestRegisterInsists(t *testing.T) {
	t.Parallel()
	reset := func(http.ResponseWriter) { panic(http.ErrAbortHandler) }
	says := func(code int) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { http.Error(w, "as the test wants", code) }
	}
	for name, tt := range map[string]struct {
		bad   func(http.ResponseWriter)
		times int // how often in a row
		asked int
		fails bool
	}{
		"a lost connection": {reset, 1, 2, false},
		"two of them":       {reset, 2, 3, false},
		"three of them":     {reset, 3, 3, true},
		"a server's error":  {says(500), 2, 3, false},
		"too many requests": {says(429), 1, 2, false},
		"a bad request":     {says(400), 1, 1, true},
		"no right":          {says(403), 1, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			listed := func(question) response {
				return response{index: 5, body: `[{"Node":{"Node":"n","Address":"10.0.0.1","Datacenter":"dc1"},
					"Service":{"ID":"web-80","Address":"10.0.0.9","Port":80,"Connect":{"Native":true}},"Checks":[{"Status":"passing"}]}]`}
			}
			bubble(t, Config{}, listed, func(t *testing.T, f *fake, c *Catalog) {
				var asked [2]int // to register, to deregister
				f.roots = func(w http.ResponseWriter, r *http.Request) {
					for i, path := range []string{"register", "deregister/web-80"} {
						if r.URL.Path != "/v1/agent/service/"+path {
							continue
						}
						f.mu.Lock()
						asked[i]++
						bad := asked[i] <= tt.times
						f.mu.Unlock()
						if bad {
							tt.bad(w)
						}
					}
				}
				dereg, err := c.Register(t.Context(), resolver.Instance{Service: "web", Host: "10.0.0.9", Port: 80})
				if (err != nil) != tt.fails || asked[0] != tt.asked {
					t.Errorf("asked %d times: %v", asked[0], err)
				}
				if err != nil {
					if !strings.Contains(err.Error(), `registering "web-80"`) {
						t.Errorf("%v", err)
					}
					return
				}
				if err := dereg(t.Context()); err != nil || asked[1] != tt.asked {
					t.Errorf("deregister: asked %d times: %v", asked[1], err)
				}
			})
		})
	}
}
