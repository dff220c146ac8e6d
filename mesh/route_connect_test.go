package mesh

import (
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

// A resolver's ConnectTimeout is the lane's over HTTP, and told where it cannot hold.
func TestConnectTimeoutOfAResolver(t *testing.T) {
	t.Parallel()
	for protocol, told := range map[string]bool{"http": false, "grpc": true} {
		e := embedded(t)
		start(t, e, nil, "web/v1@aws")
		ent := newEntries(t, `{"Kind":"service-defaults","Name":"web","Protocol":"`+protocol+`"}`, `{"Kind":"service-resolver","Name":"web","ConnectTimeout":"700ms"}`)
		m := member(t, Config{Service: "caller", Embedded: e, Locality: resolver.Locality{Cloud: "aws"}, Chains: ent.source()})
		if _, err := get(bound(t), m, "http://web/"); err != nil {
			t.Fatal(err)
		}
		to := m.to.of("web")
		cfg, ok := m.to.laneFor("web", to.router.table.Load().lanes[0].Name)
		if !ok || cfg.ConnectTimeout != 700*time.Millisecond {
			t.Errorf("%s: the lane's is %v", protocol, cfg.ConnectTimeout)
		}
		problems := m.Routes()[0].Problems
		if got := len(problems) == 1 && strings.Contains(problems[0].String(), "ConnectTimeout"); got != told {
			t.Errorf("%s: problems %v, want one of it: %v", protocol, problems, told)
		}
	}
}
