package security

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
)

// ErrBadJWT means that a token is no JWT-SVID that could be accepted here and now.
var ErrBadJWT = errors.New("not a valid JWT-SVID")

// maxJWT bounds a token before anything is parsed.
const maxJWT = 8 << 10

// ValidateJWT accepts a JWT-SVID that its subject's trust domain has signed, with an
// asymmetric algorithm, that has not expired (it must say when it does), and that is
// meant for one of audiences (of which there must be at least one). The keys come from
// the bundle of that trust domain and no other. An error never holds the token.
func ValidateJWT(token string, bundles jwtbundle.Source, audiences ...string) (*jwtsvid.SVID, error) {
	switch {
	case bundles == nil:
		return nil, errors.New("security: ValidateJWT needs bundles, got nil")
	case len(audiences) == 0:
		return nil, errors.New("security: ValidateJWT needs the audience that tokens must be meant for; without one a token for anybody would do")
	case len(token) > maxJWT:
		return nil, fmt.Errorf("security: %w: it has %d bytes, the limit is %d", ErrBadJWT, len(token), maxJWT)
	case strings.Count(token, ".") != 2:
		return nil, fmt.Errorf("security: %w: it has not three parts", ErrBadJWT)
	}
	svid, err := jwtsvid.ParseAndValidate(token, bundles, audiences)
	if err != nil {
		return nil, fmt.Errorf("security: %w: %s", ErrBadJWT, clip(strings.ReplaceAll(err.Error(), token, "…")))
	}
	if _, err := parseID(svid.ID.String()); err != nil {
		return nil, fmt.Errorf("security: %w: subject: %w", ErrBadJWT, err)
	}
	if svid.Expiry.IsZero() || len(svid.Audience) == 0 {
		return nil, fmt.Errorf("security: %w: it lacks exp or aud", ErrBadJWT)
	}
	// go-spiffe allows a minute for clocks; a second look would not.
	if late := time.Since(svid.Expiry); late > time.Minute {
		return nil, fmt.Errorf("security: %w: expired since %v", ErrBadJWT, late.Round(time.Second))
	}
	return svid, nil
}
