package authz

import (
	"context"
	"errors"

	"github.com/weft-mesh/weft/security"
)

// Admit judges a request as the faces do: the caller that a mesh gateway speaks for,
// the rules, the outside engine, dry run and audit log. r.Caller is the peer of the
// connection; Admit replaces it if that is a gateway.
//
// For other transports than gRPC and HTTP; the rest is for them to do: a path in
// its one spelling, and no identity headers to the handler.
func (a *Authorizer) Admit(ctx context.Context, r *Request) Decision {
	d := a.judge(r)
	return a.finish(r, a.outside(ctx, r, d))
}

// judge resolves the caller and asks the rules.
func (a *Authorizer) judge(r *Request) Decision {
	if isGateway(r.Caller) && r.Caller.TrustDomain().Name() == a.cfg.TrustDomain && r.Via.IsZero() {
		if err := a.throughGateway(r); err != nil {
			return Decision{Err: ErrDenied, Rule: "mesh gateway", reason: err.Error()}
		}
	}
	return a.Decide(r)
}

func (a *Authorizer) throughGateway(r *Request) error {
	if r.Headers == nil {
		return errors.New("a mesh gateway did not say whose request it passes on")
	}
	id, err := forwarded(r.Caller, r.Headers.Values(ForwardedCert))
	if err != nil {
		return err
	}
	r.Via, r.Caller = r.Caller, id
	return nil
}

// outside asks the outside engine about what is allowed so far.
func (a *Authorizer) outside(ctx context.Context, r *Request, d Decision) Decision {
	if a.cfg.External == nil || !d.Allowed {
		return d
	}
	if err := a.external(ctx, r); err != nil {
		return Decision{Err: ErrDenied, Rule: "outside engine", Version: d.Version, reason: err.Error()}
	}
	return d
}

// external turns a panic of the engine into a refusal.
func (a *Authorizer) external(ctx context.Context, r *Request) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("the engine panicked")
		}
	}()
	return a.cfg.External.Authorize(ctx, r)
}

// finish writes the audit log, tells OnDecision and applies the dry run.
func (a *Authorizer) finish(r *Request, d Decision) Decision {
	if d.Allowed {
		a.audit.allowed(r, &d)
		a.told(Allowed, &d)
		return d
	}
	if a.cfg.DryRun && !errors.Is(d.Err, ErrAmbiguous) {
		a.audit.refused("authz.would_deny", r, &d)
		a.told(WouldDeny, &d)
		d.Allowed = true
		return d
	}
	a.audit.refused("authz.denied", r, &d)
	a.told(Denied, &d)
	return d
}

func (a *Authorizer) told(result Result, d *Decision) {
	if a.cfg.OnDecision != nil {
		a.cfg.OnDecision(result, d.Rule)
	}
}

// ambiguous is the decision over a request that can be read in two ways.
func ambiguous(err error) Decision {
	return Decision{Err: ErrAmbiguous, Rule: "path", reason: err.Error()}
}

// admission is what the handler gets to know.
func (r *Request) admission(d *Decision) Admission {
	caller := r.Caller
	if caller.IsZero() {
		caller = security.PeerID{}
	}
	return Admission{Caller: caller, Via: r.Via, Claims: d.Claims}
}
