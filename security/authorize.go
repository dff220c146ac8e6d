package security

import (
	"errors"
	"fmt"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Authorizer decides whether a verified peer may connect; nil means yes. It runs
// on each handshake, after the chain was verified and before any request is read,
// so it must be fast and must not block. (crypto/tls checks the proof of the
// peer's private key right after it; no byte is exchanged before that.)
type Authorizer func(PeerID) error

// AuthorizeMemberOf accepts every workload of one trust domain. The zero trust
// domain has no members.
func AuthorizeMemberOf(td spiffeid.TrustDomain) Authorizer {
	return func(p PeerID) error {
		if td.IsZero() {
			return errors.New("no trust domain is configured whose members may connect")
		}
		if !p.MemberOf(td) {
			return fmt.Errorf("only members of trust domain %s may connect", td.Name())
		}
		return nil
	}
}

// AuthorizeIDs accepts exactly these SPIFFE IDs; without any it accepts nobody.
func AuthorizeIDs(ids ...spiffeid.ID) Authorizer {
	allowed := make(map[spiffeid.ID]struct{}, len(ids))
	for _, id := range ids {
		if !id.IsZero() {
			allowed[id] = struct{}{}
		}
	}
	return func(p PeerID) error {
		if _, ok := allowed[p.ID]; !ok {
			return fmt.Errorf("not one of the %d SPIFFE IDs that may connect", len(allowed))
		}
		return nil
	}
}

// ownTrustDomain is the Authorizer that stands for nil.
func ownTrustDomain(src Source) Authorizer {
	return func(p PeerID) error {
		own, err := ownSVID(src)
		if err != nil {
			return err
		}
		return AuthorizeMemberOf(own.ID.TrustDomain())(p)
	}
}
