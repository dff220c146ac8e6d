package mesh

import (
	"errors"
	"fmt"
	"strings"

	"github.com/weft-mesh/weft/security/authz"
)

// EgressConfig says which hosts outside the mesh this process may call, with HTTPClient
// and DialOutside. The zero value allows none, and HTTPClient takes each host for the
// name of a service.
type EgressConfig struct {
	// Allow are hosts: "api.example.com", "api.example.com:8443", "*.example.com", an IP
	// address or a network, see authz.EgressConfig. With one, a host that has a dot or is
	// an address is outside the mesh, unless Config.Services names it. A name that leads to
	// loopback or link-local addresses is refused unless they are allowed too. Empty:
	// WEFT_EGRESS, a comma list; empty too: none.
	Allow []string
	// DryRun lets every host outside be called and tells what Allow would refuse
	// (event authz.egress_would_deny, metric mesh.egress.rejected). Default false.
	DryRun bool
}

// on reports whether there is an outside.
func (c *EgressConfig) on() bool { return len(c.Allow) > 0 || c.DryRun }

// errInward is why a redirect is not followed: outside hosts would choose what is asked
// of members, in this process's name.
var errInward = errors.New("a host outside the mesh redirects to a member, which is not followed")

func (m *Mesh) openEgress() (err error) {
	m.egress, err = authz.NewEgress(authz.EgressConfig{
		Service: m.cfg.Service, Allow: m.cfg.Egress.Allow, DryRun: m.cfg.Egress.DryRun, Logger: m.log,
		OnRefused: func(r authz.Result, why authz.EgressReason) { m.watch.registry().Egress(string(r), string(why)) },
	})
	if err != nil {
		return fmt.Errorf("mesh: Config.Egress (or WEFT_EGRESS): %w", err)
	}
	return nil
}

// outside reports whether a host of a URL is not a service of the mesh.
func (r *resolved) outside(host string) bool {
	if !r.Egress.on() || !strings.ContainsAny(host, ".:") {
		return false
	}
	_, named := r.Services[host]
	return !named
}
