package authz

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

const (
	keysCacheFor = 5 * time.Minute
	keysTimeout  = 2 * time.Second
	keysRetry    = 5 * time.Second
	keysEarliest = time.Second
)

// remoteKeys fetches the keys of providers, in the background: a request never
// waits for them.
type remoteKeys struct {
	ctx     context.Context
	wg      *sync.WaitGroup
	log     *slog.Logger
	changed func()
	client  *http.Client

	mu  sync.Mutex
	set map[string]*fetchedKeys // by address
}

type fetchedKeys struct {
	keys *keySet
	err  error
	stop context.CancelFunc
}

func newRemoteKeys(ctx context.Context, wg *sync.WaitGroup, log *slog.Logger, changed func()) *remoteKeys {
	return &remoteKeys{
		ctx: ctx, wg: wg, log: log, changed: changed, set: map[string]*fetchedKeys{},
		client: &http.Client{
			Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10},
			// Where keys come from is said by the configuration, not by who answers there.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// fetched implements keyRing. The first call for an address starts to fetch.
func (k *remoteKeys) fetched(p *Provider) (*keySet, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f := k.set[p.KeysURI]
	if f == nil {
		f = &fetchedKeys{err: errors.New("they are being fetched")}
		k.set[p.KeysURI] = f
		if k.ctx.Err() == nil {
			uri, every, timeout := p.KeysURI, p.CacheFor, p.FetchTimeout
			if every == 0 {
				every = keysCacheFor
			}
			if timeout == 0 {
				timeout = keysTimeout
			}
			ctx, stop := context.WithCancel(k.ctx)
			f.stop = stop
			k.wg.Go(func() { k.run(ctx, uri, f, max(every, keysEarliest), timeout) })
		}
	}
	if f.keys == nil {
		return nil, f.err
	}
	return f.keys, nil
}

// run keeps the keys of one address fresh. Those that are there stay in use for as
// long as newer ones cannot be had.
func (k *remoteKeys) run(ctx context.Context, uri string, f *fetchedKeys, every, timeout time.Duration) {
	for ctx.Err() == nil {
		keys, err := k.fetch(ctx, uri, timeout)
		k.mu.Lock()
		f.err = err
		news := err == nil && (f.keys == nil || f.keys.sum != keys.sum)
		if news {
			f.keys = keys
		}
		k.mu.Unlock()
		wait := every
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			wait = rand.N(min(keysRetry, every)) + 100*time.Millisecond
			k.log.Warn("authz.keys_unavailable", "address", clip(uri), "error", clip(err.Error()))
		case news:
			k.log.Info("authz.keys", "address", clip(uri), "keys", len(keys.keys))
		}
		if news {
			k.changed()
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
}

// retain ends the fetching of addresses that no rules have any more.
func (k *remoteKeys) retain(uris map[string]bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for uri, f := range k.set {
		if !uris[uri] {
			if f.stop != nil {
				f.stop()
			}
			delete(k.set, uri)
		}
	}
}

func (k *remoteKeys) fetch(ctx context.Context, uri string, timeout time.Duration) (*keySet, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return nil, errors.New("the address cannot be used")
	}
	resp, err := k.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d, want 200; redirects are not followed", resp.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxKeys+1))
	if err != nil {
		return nil, err
	}
	return parseKeys(data)
}
