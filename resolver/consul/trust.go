package consul

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// trustPatience is how long the first list waits for the trust domain.
	trustPatience = 2 * time.Second
	// trustWait bounds the blocking query for the CA roots.
	trustWait = 2 * time.Minute
)

// trust follows the source's trust domain.
type trust struct {
	client *client

	mu     sync.Mutex
	domain string
	err    error         // why domain is not known
	first  chan struct{} // closed with the first answer of the source
}

func newTrust(c *client) *trust { return &trust{client: c, first: make(chan struct{})} }

// get is the trust domain, or empty and why it is not known.
func (t *trust) get() (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.domain, t.err
}

// run follows the trust domain until ctx ends, and tells changed of each change.
func (t *trust) run(ctx context.Context, changed func()) {
	var index uint64
	for failures := 0; ctx.Err() == nil; {
		domain, next, err := t.read(ctx, index)
		if ctx.Err() != nil {
			return
		}
		if t.set(domain, err) {
			changed()
		}
		pause := time.Duration(0)
		switch {
		case err != nil:
			failures++
			index, pause = 0, jitter(failures)
			if errors.Is(err, ErrACL) {
				pause = backoffMax + jitter(10)
			}
		case next <= index: // nothing new, or no usable index: ask again calmly
			index, pause, failures = next, time.Second, 0
		default:
			index, failures = next, 0
		}
		sleep(ctx, pause)
	}
}

// set keeps the last domain on an error, and reports a change.
func (t *trust) set(domain string, err error) (changed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil && t.err == nil {
		t.client.cfg.Logger.Warn("trust_domain.unknown", "kept", t.domain, "error", err)
	}
	t.err = err
	if err == nil {
		changed = t.domain != domain
		t.domain = domain
	}
	if err == nil || !sourceWide(err) { // a source that is away has no list either
		select {
		case <-t.first:
		default:
			close(t.first)
		}
	}
	return changed
}

func (t *trust) read(ctx context.Context, index uint64) (domain string, next uint64, err error) {
	path, q := "/v1/connect/ca/roots", url.Values{}
	decode := rootsDomain
	if peer := t.client.cfg.Peer; peer != "" {
		path, decode = "/v1/peering/"+url.PathEscape(peer), peerDomain
	} else if dc := t.client.cfg.Datacenter; dc != "" {
		q.Set("dc", dc)
	}
	within := readWithin
	if index > 0 {
		q.Set("index", strconv.FormatUint(index, 10))
		q.Set("wait", trustWait.String())
		within = deadline(trustWait)
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	r, err := t.client.get(ctx, path, q, func(body io.Reader) (err error) {
		domain, err = decode(body)
		return err
	})
	return domain, r.index, err
}

// rootsDomain reads the answer of /v1/connect/ca/roots.
func rootsDomain(r io.Reader) (string, error) {
	var v struct{ TrustDomain string }
	if err := json.NewDecoder(r).Decode(&v); err != nil {
		return "", err
	}
	return checkDomain(v.TrustDomain)
}

// peerDomain reads the answer of /v1/peering/:name: the peer's CA certificates
// carry its trust domain as their URI.
func peerDomain(r io.Reader) (string, error) {
	var v struct{ PeerCAPems []string }
	if err := json.NewDecoder(r).Decode(&v); err != nil {
		return "", err
	}
	domain := ""
	for _, text := range v.PeerCAPems {
		for rest := []byte(text); ; {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil || len(cert.URIs) != 1 || cert.URIs[0].Scheme != "spiffe" {
				continue // an intermediate or a foreign root names no trust domain
			}
			if domain != "" && domain != cert.URIs[0].Host {
				return "", fmt.Errorf("the peer's roots are of two trust domains, %q and %q", clip(domain), clip(cert.URIs[0].Host))
			}
			domain = cert.URIs[0].Host
		}
	}
	if domain == "" {
		return "", errors.New("the peering has no certificate with a trust domain yet")
	}
	return checkDomain(domain)
}

// checkDomain refuses what cannot be a SPIFFE trust domain.
func checkDomain(d string) (string, error) {
	d = strings.ToLower(d)
	if len(d) == 0 || len(d) > 255 || strings.ContainsFunc(d, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '_')
	}) {
		return "", fmt.Errorf("%q is not a trust domain", clip(d))
	}
	return d, nil
}
