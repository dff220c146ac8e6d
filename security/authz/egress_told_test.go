package authz_test

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/weft-mesh/weft/security/authz"
)

// OnRefused hears of what is refused, with why, and of nothing that is allowed.
func TestEgressOnRefused(t *testing.T) {
	t.Parallel()
	d, r := resolver(t)
	inward := netip.MustParseAddr("127.0.0.1")
	d.first.Store(&inward)
	for _, dry := range []bool{false, true} {
		result := authz.Denied
		if dry {
			result = authz.WouldDeny
		}
		type told struct {
			result authz.Result
			why    authz.EgressReason
		}
		var heard []told
		e, err := authz.NewEgress(authz.EgressConfig{
			Allow: []string{"api.example.com", "rebound.example:1"}, DryRun: dry,
			OnRefused: func(r authz.Result, why authz.EgressReason) { heard = append(heard, told{r, why}) },
		})
		if err != nil {
			t.Fatal(err)
		}
		_ = e.Check("api.example.com", "443")
		_ = e.Check("evil.example.com", "443")
		_ = e.Check("2130706433", "443")
		if c, err := e.Dial(net.Dialer{Resolver: r})(t.Context(), "tcp", "rebound.example:1"); err == nil {
			_ = c.Close()
			t.Error("port 1 answers")
		}
		want := []told{{result, authz.EgressNotAllowed}, {result, authz.EgressBadHost}, {result, authz.EgressInward}}
		if !slices.Equal(heard, want) {
			t.Errorf("dry run %v: heard %v, want %v", dry, heard, want)
		}
	}
}
