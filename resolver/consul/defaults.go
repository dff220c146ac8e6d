package consul

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/chain"
)

// maxEntries bounds the JSON of one service's entry.
const maxEntries = 4 << 20

// WatchDefaults implements [chain.DefaultsSource]. An entry that cannot be read, or
// for which the token lacks permission, keeps the last one.
func (s *Chains) WatchDefaults(ctx context.Context, service string, deliver func(*chain.ServiceDefaults, []chain.Problem)) error {
	if err := resolver.CheckService(service); err != nil {
		return err
	}
	log := s.c.cfg.Logger.With("service", service)
	var index uint64
	var last []byte
	var pace pace
	for failures := 0; sleep(ctx, pace.delay(time.Now())); {
		began := time.Now()
		raw, next, err := s.defaults(ctx, service, index)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			if failures++; failures == 1 {
				log.Warn("config.stale", "kind", chain.KindServiceDefaults, "error", explain(err, service))
			}
			index = 0
			pause := jitter(failures)
			if errors.Is(err, ErrACL) || errors.Is(err, ErrTooLarge) {
				pause += backoffMax // wait for people
			}
			sleep(ctx, pause)
			continue
		}
		failures = 0
		if last == nil || !bytes.Equal(last, raw) {
			last = raw
			if d, problems, err := defaultsOf(raw, service); err != nil {
				log.Warn("config.rejected", "kind", chain.KindServiceDefaults, "error", err)
			} else {
				deliver(d, problems)
			}
		} else if next <= 1 || time.Since(began) < s.c.cfg.Wait/32 {
			sleep(ctx, 500*time.Millisecond+jitter(1))
		}
		if index, next = next, index; index < next { // a restored server: read again
			index = 0
		}
	}
	return ctx.Err()
}

// defaults reads the entry as a list: a list can be waited for while there is none.
func (s *Chains) defaults(ctx context.Context, service string, index uint64) (raw []byte, next uint64, err error) {
	wait := s.c.client.slots.wait(s.c.cfg.Wait)
	q, within := url.Values{"filter": {"Name == " + strconv.Quote(service)}}, readWithin
	if index > 0 {
		q.Set("index", strconv.FormatUint(index, 10))
		q.Set("wait", strconv.FormatInt(wait.Milliseconds(), 10)+"ms")
		within = deadline(wait)
	}
	leave, err := s.c.client.slots.enter(ctx, index > 0)
	if err != nil {
		return nil, 0, err
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	r, err := s.c.client.get(ctx, "/v1/config/"+chain.KindServiceDefaults, q, func(body io.Reader) (err error) {
		if raw, err = io.ReadAll(io.LimitReader(body, maxEntries+1)); err == nil && len(raw) > maxEntries {
			err = ErrTooLarge
		}
		return err
	})
	return raw, r.index, err
}

// defaultsOf is the entry of a service in a list; nil: there is none.
func defaultsOf(raw []byte, service string) (*chain.ServiceDefaults, []chain.Problem, error) {
	if trimmed := bytes.TrimSpace(raw); bytes.Equal(trimmed, []byte("null")) || bytes.Equal(trimmed, []byte("[]")) {
		return nil, nil, nil
	}
	list, problems, err := chain.DecodeEntries(raw, chain.JSON)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range list {
		if d, ok := e.(*chain.ServiceDefaults); ok && d.EntryName() == service {
			return d, problems, nil
		}
	}
	return nil, nil, fmt.Errorf("resolver/consul: asked for the %s of %q, got %d others", chain.KindServiceDefaults, service, len(list))
}
