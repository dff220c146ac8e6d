package authz

import (
	"context"
	"sync"
	"time"

	"github.com/weft-mesh/weft/security"
)

// Live is a request that lasts, such as a stream. It is judged again when the rules
// change.
type Live struct {
	a    *Authorizer
	req  Request
	end  func(Decision)
	once sync.Once
}

// Track has a request that was allowed judged again at each change of the rules.
// The first time that it is refused, end is called, once, and must not block. The
// caller must call Done when the request has ended.
func (a *Authorizer) Track(r *Request, end func(Decision)) *Live {
	l := &Live{a: a, req: *r, end: end}
	a.mu.Lock()
	a.live[l] = struct{}{}
	a.mu.Unlock()
	l.judge() // the rules may have changed since it was allowed
	return l
}

// Done forgets the request.
func (l *Live) Done() {
	l.a.mu.Lock()
	delete(l.a.live, l)
	l.a.mu.Unlock()
}

func (l *Live) judge() {
	req := l.req
	req.Time = time.Time{} // now
	d := l.a.judge(&req)
	if d.Allowed || l.a.cfg.DryRun {
		return
	}
	l.once.Do(func() {
		l.a.audit.refused("authz.revoked", &l.req, &d)
		l.a.told(Revoked, &d)
		l.end(d)
	})
}

// review judges the live requests again.
func (a *Authorizer) review() {
	a.mu.Lock()
	list := make([]*Live, 0, len(a.live))
	for l := range a.live {
		list = append(list, l)
	}
	a.mu.Unlock()
	for _, l := range list {
		l.judge()
	}
}

// Reauthorize calls check at each change of the rules until ctx ends, and once more
// for a change that came before. It is for what holds connections: check asks
// [Authorizer.Peer] for each and closes those that are refused.
func (a *Authorizer) Reauthorize(ctx context.Context, check func(allowed func(security.PeerID) error)) {
	for {
		changed := a.Changed()
		check(a.Peer)
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}
