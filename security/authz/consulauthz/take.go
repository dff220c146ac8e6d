package consulauthz

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/weft-mesh/weft/security/authz"
)

// watch is one call of Watch.
type watch struct {
	*Source
	ctx       context.Context
	set       func(authz.Rules)
	providers func() // starts to follow them

	pub      sync.Mutex // one publication at a time, in order
	provided bool       // the providers are known, or known to be out of reach
	last     string     // what was published
}

// takeIntentions takes a new answer; nil: it is unchanged, and only the default
// policy is asked for again.
func (w *watch) takeIntentions(body []byte, index uint64, lost bool) error {
	w.mu.Lock()
	next := w.now
	w.mu.Unlock()
	if body != nil {
		list, err := authz.DecodeMatch(body, w.cfg.Service)
		if err != nil {
			return err
		}
		if w.hold(len(list) == 0, lost) {
			return errHeld
		}
		next.intentions, next.version = body, fmt.Sprintf("consul index %d", index)
	}
	next.fallback = w.fallback()
	w.mu.Lock()
	w.now.intentions, w.now.version, w.now.fallback = next.intentions, next.version, next.fallback
	w.cached = false
	w.mu.Unlock()
	return w.publish(true)
}

// hold reports whether an empty answer is not to be believed: Consul has lost its
// state, and had intentions before.
func (w *watch) hold(empty, lost bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	had := false
	if w.now.intentions != nil {
		list, err := authz.DecodeMatch(w.now.intentions, w.cfg.Service)
		had = err == nil && len(list) > 0
	}
	if !empty || !had || w.cfg.Hold < 0 || !lost && w.held.IsZero() {
		w.held = time.Time{}
		return false
	}
	if w.held.IsZero() {
		w.held = time.Now()
		w.log.Warn("authz.rules_held", "service", w.cfg.Service, "hold", w.cfg.Hold,
			"detail", "Consul has lost its state and answers without intentions; the last ones stay in force")
	}
	if time.Since(w.held) < w.cfg.Hold {
		return true
	}
	w.held = time.Time{}
	return false
}

func (w *watch) takeProviders(body []byte, _ uint64, _ bool) error {
	if body == nil {
		return nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(body, &list); err != nil {
		return fmt.Errorf("the list of %s entries cannot be read", authz.KindProvider)
	}
	w.mu.Lock()
	w.now.providers = body
	w.mu.Unlock()
	w.pub.Lock()
	w.provided = true
	w.pub.Unlock()
	return w.publish(true)
}

// failed is called after a query that failed: what waits for it goes on without.
func (w *watch) failed() {
	w.pub.Lock()
	w.provided = w.provided || w.Status().Err != nil && w.errOf("providers") != nil
	w.pub.Unlock()
	w.useCache()
	_ = w.publish(false) // it says again what Watch has seen
}

func (w *watch) errOf(what string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err[what]
}

// publish hands over what is known, once it is enough.
func (w *watch) publish(save bool) error {
	w.pub.Lock()
	defer w.pub.Unlock()
	w.mu.Lock()
	now := w.now
	w.mu.Unlock()
	if now.intentions == nil {
		return nil
	}
	rules, wants, err := decode(now, w.cfg.Service)
	if err != nil {
		return err
	}
	if wants {
		w.providers()
		if !w.provided && now.providers == nil {
			return nil
		}
	}
	key := strings.Join([]string{string(now.intentions), string(now.providers), string(now.fallback)}, "\x00")
	if key == w.last {
		return nil
	}
	w.last = key
	w.set(rules)
	if save && w.cfg.CacheDir != "" {
		if err := w.save(now); err != nil {
			w.log.Warn("authz.cache_failed", "service", w.cfg.Service, "error", err)
		}
	}
	return nil
}

// decode makes rules of answers; wants reports whether a token is asked for.
func decode(a answers, service string) (rules authz.Rules, wants bool, err error) {
	rules = authz.Rules{Default: a.fallback, Version: a.version}
	if rules.Intentions, err = authz.DecodeMatch(a.intentions, service); err != nil {
		return rules, false, err
	}
	for _, in := range rules.Intentions {
		wants = wants || in.JWT != nil
		for _, p := range in.Permissions {
			wants = wants || p.JWT != nil
		}
	}
	var list []json.RawMessage
	if len(a.providers) > 0 {
		if err := json.Unmarshal(a.providers, &list); err != nil {
			return rules, wants, err
		}
	}
	for _, raw := range list {
		if p, err := authz.DecodeProvider(raw); err == nil { // one without a name is nobody's
			rules.Providers = append(rules.Providers, p)
		}
	}
	return rules, wants, nil
}

// fallback asks what applies where no intention does. The agent says so of a source
// that nobody has named, unless an intention is for everybody; then its own
// configuration does, if the token may read it. What cannot be learnt is deny.
func (w *watch) fallback() authz.Action {
	if w.cfg.Default != "" {
		return w.cfg.Default
	}
	ctx, cancel := context.WithTimeout(w.ctx, askTimeout)
	defer cancel()
	body, header, err := w.do(ctx, http.MethodPost, "/v1/agent/connect/authorize", url.Values{}, map[string]string{
		"Target":           w.cfg.Service,
		"ClientCertURI":    "spiffe://weft.consul/ns/default/dc/weft/svc/weft-" + strings.ToLower(rand.Text()),
		"ClientCertSerial": "00",
	})
	var said struct {
		Authorized bool
		Reason     string
	}
	if err == nil && json.Unmarshal(body, &said) == nil {
		switch {
		case said.Reason == "Default intention policy":
			return action(said.Authorized)
		case strings.HasPrefix(said.Reason, "Default "): // and what it says is what our token may
			return action(header.Get(aclPolicy) == "allow")
		}
	}
	body, header, err = w.do(ctx, http.MethodGet, "/v1/agent/self", url.Values{}, nil)
	var self struct {
		DebugConfig *struct{ DefaultIntentionPolicy string }
	}
	if err != nil || json.Unmarshal(body, &self) != nil || self.DebugConfig == nil {
		w.log.Warn("authz.default_unknown", "service", w.cfg.Service, "detail", "an intention for everybody hides the default policy, and the token has no agent:read; it is taken to be deny")
		return authz.Deny
	}
	if p := self.DebugConfig.DefaultIntentionPolicy; p != "" {
		return action(p == "allow")
	}
	return action(header.Get(aclPolicy) == "allow")
}

// aclPolicy is the header with the default policy of the agent's ACLs.
const aclPolicy = "X-Consul-Default-ACL-Policy"

func action(allow bool) authz.Action {
	if allow {
		return authz.Allow
	}
	return authz.Deny
}

// outcome notes how the last query went.
func (s *Source) outcome(what string, err error) {
	s.mu.Lock()
	old := s.err[what]
	if err != nil {
		err = fmt.Errorf("consulauthz: service %q: %w", s.cfg.Service, err)
	}
	s.err[what] = err
	select {
	case <-s.asked:
	default:
		close(s.asked)
	}
	s.mu.Unlock()
	switch {
	case err != nil && (old == nil || old.Error() != err.Error()):
		s.log.Warn("authz.source_lost", "service", s.cfg.Service, "what", what, "detail", "the last rules stay in force", "error", plain(err.Error()))
	case err == nil && old != nil:
		s.log.Info("authz.source_connected", "service", s.cfg.Service, "what", what)
	}
}
