package mesh_test

import (
	"context"
	"strconv"
	"strings"
	"testing"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/internal/consultest"
	"github.com/weft-mesh/weft/internal/consultest/ctest"
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/static"
	"github.com/weft-mesh/weft/security"
	"github.com/weft-mesh/weft/security/consulca"
)

// credulous is an identity that trusts a second CA, too: as a caller it gets as
// far as the server's own check.
type credulous struct {
	security.Source
	other security.Source
}

func (c credulous) GetX509BundleForTrustDomain(td spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	if b, err := c.Source.GetX509BundleForTrustDomain(td); err == nil {
		return b, nil
	}
	return c.other.GetX509BundleForTrustDomain(td)
}

// identity is that of a service at an agent.
func identity(t *testing.T, agent *consultest.Agent, service string) security.Source {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	src, err := consulca.New(ctx, consulca.Config{Service: service, Client: agent.Client()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = src.Close() })
	return src
}

func idOf(t *testing.T, s security.Source) string {
	t.Helper()
	svid, err := s.GetX509SVID()
	if err != nil {
		t.Fatal(err)
	}
	return svid.ID.String()
}

// pointed is a catalog that points "payments" to an instance's two servers.
func pointed(t *testing.T, in *instance, expect string) resolver.Catalog {
	t.Helper()
	cat := static.New(static.Config{})
	var eps []resolver.Endpoint
	for i, protocol := range []string{"grpc", "http"} {
		eps = append(eps, resolver.Endpoint{
			ID:   resolver.ID{Source: "static", Node: "n", Instance: "payments-" + strconv.Itoa(i)},
			Addr: in.addrs[i], Protocol: protocol, SPIFFEID: expect,
		})
	}
	if err := cat.Set("payments", eps...); err != nil {
		t.Fatal(err)
	}
	return cat
}

// TestOtherCA: members of another cluster's CA are refused in both directions,
// on both protocols, before a handler runs.
func TestOtherCA(t *testing.T) {
	t.Parallel()
	ours, theirs := ctest.Start(t, consultest.Config{}), ctest.Start(t, consultest.Config{})
	in, foreign := start(t, "ours", at(ours, "payments")), start(t, "theirs", at(theirs, "payments"))
	us, them := identity(t, ours, "checkout"), identity(t, theirs, "checkout")
	ourID, theirID := idOf(t, identity(t, ours, "payments")), idOf(t, identity(t, theirs, "payments"))
	for _, c := range []struct {
		name   string
		as     security.Source
		to     *instance
		expect string
		cause  error // what the caller can see; nil: the server's refusal
		ok     bool
	}{
		{name: "a member", as: us, to: in, expect: ourID, ok: true},
		{name: "a stranger who does not know our CA", as: them, to: in, expect: ourID, cause: security.ErrUnknownTrustDomain},
		{name: "a stranger who trusts our CA", as: credulous{them, us}, to: in, expect: ourID},
		{name: "a stranger's server under our name", as: us, to: foreign, expect: ourID, cause: security.ErrUnknownTrustDomain},
		{name: "another member than expected", as: us, to: in, expect: idOf(t, us), cause: security.ErrUnexpectedPeer},
		{name: "a stranger's server under its own name", as: us, to: foreign, expect: theirID, cause: security.ErrUnknownTrustDomain},
		{name: "a stranger's server that we are taken in by", as: credulous{us, them}, to: foreign, expect: theirID},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := c.to.handled.Load()
			m := join(t, mesh.Config{Service: "checkout", Catalog: pointed(t, c.to, c.expect), Identity: c.as})
			for kind, call := range calls(t, m, "payments") {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				_, err := call(ctx)
				cancel()
				switch {
				case c.ok && err != nil, !c.ok && err == nil:
					t.Errorf("%s: %v", kind, err)
				case c.cause != nil && !strings.Contains(err.Error(), c.cause.Error()): // gRPC keeps the text only
					t.Errorf("%s: %v; want %v in it", kind, err, c.cause)
				}
			}
			if ran := c.to.handled.Load() > before; ran != c.ok {
				t.Errorf("a handler ran: %v", ran)
			}
		})
	}
}
