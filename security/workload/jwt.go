package workload

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"

	"github.com/weft-mesh/weft/security"
)

const (
	// maxAudiences bounds the tokens that are kept.
	maxAudiences = 256
	// jwtBundleAge is how long fetched keys are used, as SPIFFE's default refresh hint.
	jwtBundleAge = 5 * time.Minute
	// jwtBundlePace is the least time between two fetches that unknown keys cause.
	jwtBundlePace = 10 * time.Second
)

// tokens keeps JWT-SVIDs, and the keys to check others' with.
type tokens struct {
	mu   sync.Mutex
	kept map[string]*jwtsvid.SVID // by audience

	fetching sync.Mutex // one fetch of keys at a time
	bundles  *jwtbundle.Set
	fetched  time.Time
}

// JWT is this process's JWT-SVID for an audience. It asks the agent only if none is kept
// that has half its life left; while the agent is away a kept one serves until it
// expires.
func (s *Source) JWT(ctx context.Context, audience string) (*jwtsvid.SVID, error) {
	if audience == "" {
		return nil, errors.New("workload: a JWT-SVID needs an audience, the one that will check it")
	}
	now := time.Now()
	s.tokens.mu.Lock()
	kept := s.tokens.kept[audience]
	s.tokens.mu.Unlock()
	if kept != nil && now.Before(half(kept)) {
		return kept, nil
	}
	subject := s.id
	if subject.IsZero() {
		if svid, err := s.GetX509SVID(); err == nil {
			subject = svid.ID // both kinds of identity are one
		}
	}
	svid, err := s.client.FetchJWTSVID(ctx, jwtsvid.Params{Audience: audience, Subject: subject})
	if err != nil {
		if kept != nil && now.Before(kept.Expiry) {
			return kept, nil
		}
		return nil, fmt.Errorf("workload: no JWT-SVID for audience %.200q: %w", audience, err)
	}
	s.tokens.keep(audience, svid, now)
	return svid, nil
}

// half is when half of a token's life is over.
func half(t *jwtsvid.SVID) time.Time {
	if issued, ok := t.Claims["iat"].(float64); ok {
		from := time.Unix(int64(issued), 0)
		return from.Add(t.Expiry.Sub(from) / 2)
	}
	return t.Expiry.Add(-time.Minute)
}

func (t *tokens) keep(audience string, svid *jwtsvid.SVID, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.kept == nil {
		t.kept = map[string]*jwtsvid.SVID{}
	}
	for a, old := range t.kept {
		if len(t.kept) >= maxAudiences || !now.Before(old.Expiry) {
			delete(t.kept, a)
		}
	}
	t.kept[audience] = svid
}

// ValidateJWT is security.ValidateJWT with the keys that the agent gives, which are kept
// for five minutes and, while the agent is away, longer. A token that they do not
// verify makes them be fetched again, at most every ten seconds.
func (s *Source) ValidateJWT(ctx context.Context, token string, audiences ...string) (*jwtsvid.SVID, error) {
	set, at, err := s.jwtBundles(ctx, jwtBundleAge)
	if err != nil {
		return nil, err
	}
	svid, err := security.ValidateJWT(token, set, audiences...)
	if err == nil || time.Since(at) < jwtBundlePace {
		return svid, err
	}
	newer, _, ferr := s.jwtBundles(ctx, jwtBundlePace)
	if ferr != nil {
		return nil, err
	}
	return security.ValidateJWT(token, newer, audiences...)
}

// GetJWTBundleForTrustDomain implements jwtbundle.Source, of the keys fetched last.
func (s *Source) GetJWTBundleForTrustDomain(td spiffeid.TrustDomain) (*jwtbundle.Bundle, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	set, _, err := s.jwtBundles(ctx, jwtBundleAge)
	if err != nil {
		return nil, err
	}
	return set.GetJWTBundleForTrustDomain(td)
}

func (s *Source) jwtBundles(ctx context.Context, age time.Duration) (*jwtbundle.Set, time.Time, error) {
	t := &s.tokens
	t.fetching.Lock()
	defer t.fetching.Unlock()
	if t.bundles != nil && time.Since(t.fetched) < age {
		return t.bundles, t.fetched, nil
	}
	set, err := s.client.FetchJWTBundles(ctx)
	if err != nil {
		if t.bundles != nil {
			return t.bundles, t.fetched, nil
		}
		return nil, time.Time{}, fmt.Errorf("workload: no keys to check JWT-SVIDs with: %w", err)
	}
	t.bundles, t.fetched = set, time.Now()
	return set, t.fetched, nil
}
