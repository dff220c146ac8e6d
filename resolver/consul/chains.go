package consul

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/weft-mesh/weft/internal/ownfile"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/chain"
	"github.com/weft-mesh/weft/resolver/internal/hub"
)

// maxChain bounds a discovery chain's JSON.
const maxChain = 8 << 20

// Chains gives the compiled discovery chains of services, as the catalog's own
// datacenter sees them. It implements [chain.Source]. All watches of a service share
// one blocking query.
//
// Without Consul the last chain holds: from memory, or, with a Dir, from disk for a
// process that has just started.
type Chains struct {
	c   *Catalog
	dir string
	hub *hub.Hub[chain.Update]
}

// Chains reads chains through the catalog's agent. dir is where the last good chains
// are kept, readable by the owner only; empty: nowhere. Close them before the catalog.
func (c *Catalog) Chains(dir string) *Chains {
	s := &Chains{c: c, dir: dir}
	s.hub = hub.New(c.cfg.Linger, s.follow)
	return s
}

// WatchChain implements [chain.Source].
func (s *Chains) WatchChain(ctx context.Context, service string, deliver func(chain.Update)) error {
	if err := resolver.CheckService(service); err != nil {
		return err
	}
	return s.hub.Watch(ctx, service, deliver)
}

// Close ends all watches and waits for them no longer than ctx.
func (s *Chains) Close(ctx context.Context) error { return s.hub.CloseWithin(ctx) }

// follow is the query of one service.
func (s *Chains) follow(ctx context.Context, service string, publish func(chain.Update)) {
	f := &chainWatch{s: s, service: service, publish: publish, log: s.c.cfg.Logger.With("service", service)}
	f.load()
	s.c.client.slots.watches.Add(1)
	defer s.c.client.slots.watches.Add(-1)
	var pace pace
	for failures := 0; sleep(ctx, pace.delay(time.Now())); {
		began, asked := time.Now(), f.index
		err := f.step(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			failures++
			f.index = 0
			f.lost(explain(err, service))
			pause := jitter(failures)
			if errors.Is(err, ErrACL) || errors.Is(err, errLongChain) || errors.Is(err, ErrTooLarge) {
				pause += backoffMax // wait for people
			}
			sleep(ctx, pause)
		case f.index <= 1 || asked == f.index && time.Since(began) < s.c.cfg.Wait/32:
			failures = 0
			sleep(ctx, 500*time.Millisecond+jitter(1)) // no index to rely on, or one that does not hold the answer back
		default:
			failures = 0
		}
	}
}

type chainWatch struct {
	s       *Chains
	service string
	publish func(chain.Update)
	log     *slog.Logger

	index   uint64
	raw     []byte // of last.Chain
	last    chain.Update
	refused []byte // the newest answer, if it is refused
	why     error  // and why
}

// step makes one query and publishes what it says.
func (f *chainWatch) step(ctx context.Context) error {
	wait := f.s.c.client.slots.wait(f.s.c.cfg.Wait)
	q, within := url.Values{}, readWithin
	if f.index > 0 {
		q.Set("index", strconv.FormatUint(f.index, 10))
		q.Set("wait", strconv.FormatInt(wait.Milliseconds(), 10)+"ms")
		within = deadline(wait)
	}
	if dc := f.s.c.cfg.Datacenter; dc != "" {
		q.Set("dc", dc)
	}
	leave, err := f.s.c.client.slots.enter(ctx, f.index > 0)
	if err != nil {
		return err
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	var raw []byte
	r, err := f.s.c.client.get(ctx, "/v1/discovery-chain/"+url.PathEscape(f.service), q, func(body io.Reader) (err error) {
		if raw, err = io.ReadAll(io.LimitReader(body, maxChain+1)); err == nil && len(raw) > maxChain {
			err = fmt.Errorf("the discovery chain exceeds %d MiB: %w", maxChain>>20, errLongChain)
		}
		return err
	})
	if err != nil {
		if ctx.Err() == context.DeadlineExceeded {
			err = fmt.Errorf("no answer within %v: %w", within, context.DeadlineExceeded)
		}
		return err
	}
	sent := f.index
	f.index = r.index
	if r.index < sent { // a restored server: read again at once
		f.index = 0
	}
	f.apply(raw)
	return nil
}

// apply takes a chain, unless it is the same, or refused.
func (f *chainWatch) apply(raw []byte) {
	switch {
	case f.last.Chain != nil && bytes.Equal(raw, f.raw):
		f.refused = nil
		if f.last.Err != nil { // confirmed after an outage
			f.last.Err, f.last.AsOf = nil, time.Now()
			f.publish(f.last)
		}
		return
	case f.refused != nil && bytes.Equal(raw, f.refused):
		if f.last.Err != f.why { // said again after an outage
			f.lost(f.why)
		}
		return
	}
	c, problems, err := f.read(raw)
	if err != nil {
		f.refused, f.why = raw, fmt.Errorf("resolver/consul: the discovery chain of %q is refused, the last good one holds: %w", f.service, err)
		f.lost(f.why)
		return
	}
	f.refused, f.raw = nil, raw
	f.last = chain.Update{Chain: c, Problems: problems, AsOf: time.Now()}
	f.publish(f.last)
	f.save(raw)
}

// read takes only what makes sense, and is of this service: what it returns replaces
// the last good chain, on disk too.
func (f *chainWatch) read(raw []byte) (*chain.Chain, []chain.Problem, error) {
	c, problems, err := chain.Decode(bytes.NewReader(raw))
	if err != nil {
		return nil, nil, err
	}
	if c.ServiceName != f.service {
		return nil, nil, fmt.Errorf("it is of service %.100q", c.ServiceName)
	}
	if _, _, err := chain.New(c, chain.Options{}); err != nil {
		return nil, nil, err
	}
	return c, problems, nil
}

// lost says why there is nothing newer.
func (f *chainWatch) lost(err error) {
	if f.last.Err == nil || f.last.Err.Error() != err.Error() {
		f.log.Warn("chain.stale", "error", err)
	}
	f.last.Err = err
	f.publish(f.last)
}

func (s *Chains) path(service string) string {
	return filepath.Join(s.dir, "chain-"+url.PathEscape(s.c.cfg.Name)+"-"+url.PathEscape(service)+".json")
}

// load publishes what is on disk, until Consul has answered.
func (f *chainWatch) load() {
	if f.s.dir == "" {
		return
	}
	path := f.s.path(f.service)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var raw []byte
	if err == nil {
		raw, err = ownfile.Read(path, maxChain)
	}
	var c *chain.Chain
	var problems []chain.Problem
	if err == nil {
		c, problems, err = f.read(raw)
	}
	if err != nil {
		f.log.Warn("chain.unreadable", "path", path, "error", err)
		return
	}
	f.raw = raw
	f.last = chain.Update{Chain: c, Problems: problems, AsOf: info.ModTime(), Err: errFromDisk}
	f.publish(f.last)
}

var errLongChain = errors.New("it is not read")

var errFromDisk = errors.New("resolver/consul: Consul has not answered yet; this chain was loaded from disk")

// save keeps a chain for a start without Consul. It is written whole or not at all.
func (f *chainWatch) save(raw []byte) {
	if f.s.dir == "" {
		return
	}
	if err := ownfile.Write(f.s.path(f.service), raw); err != nil {
		f.log.Warn("chain.unsaved", "error", err)
	}
}
