package consul

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
)

const (
	maxBody      = 64 << 20 // decompressed
	maxErrorBody = 200
	maxContact   = 1 << 40 // milliseconds
	dialTimeout  = 3 * time.Second
)

// client speaks to one agent.
type client struct {
	cfg   resolved
	http  *http.Client
	trans *http.Transport
	slots *slots
	// maxBody bounds an answer, decompressed.
	maxBody int64

	mu       sync.Mutex // token file
	token    string
	tokenMod time.Time
}

// newClient reads the TLS files and opens no connection.
func newClient(cfg resolved) (*client, error) {
	tc, err := cfg.TLS.load()
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}
	t := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dialer.DialContext,
		TLSClientConfig:     tc,
		TLSHandshakeTimeout: 5 * time.Second,
		ForceAttemptHTTP2:   true,
		MaxConnsPerHost:     cfg.MaxConns,
		MaxIdleConnsPerHost: cfg.MaxConns,
		IdleConnTimeout:     30 * time.Second,
		// A hung HTTP/2 connection carries every watch: find it by pings.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second},
	}
	if cfg.socket != "" {
		t.Proxy = nil
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", cfg.socket)
		}
	}
	return &client{
		cfg:     cfg,
		trans:   t,
		slots:   newSlots(cfg.MaxConns),
		maxBody: maxBody,
		// A redirect would carry the token to whoever it names.
		http: &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}, nil
}

// load reads the CA files, and checks the client certificate once.
func (c TLSConfig) load() (*tls.Config, error) {
	tc, err := api.SetupTLSConfig(&api.TLSConfig{
		Address: c.ServerName, CAFile: c.CAFile, CAPath: c.CAPath,
		CertFile: c.CertFile, KeyFile: c.KeyFile, InsecureSkipVerify: c.SkipVerify,
	})
	if err != nil {
		return nil, fmt.Errorf("resolver/consul: TLS: %w", err)
	}
	tc.MinVersion = tls.VersionTLS12
	if c.CertFile != "" {
		tc.Certificates = nil
		tc.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			cert, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
			return &cert, err
		}
	}
	return tc, nil
}

// reply is the head of an answer.
type reply struct {
	index    uint64
	filtered bool // the token hid a part
	denies   bool // Consul denies by default
	moved    bool // the agent may have translated addresses
	leader   bool // the servers had a leader, or do not say
	// contact is how long ago the answering server heard from the leader.
	contact time.Duration
}

// get asks for path and hands the body of a 200 to read.
func (c *client) get(ctx context.Context, path string, query url.Values, read func(io.Reader) error) (reply, error) {
	resp, err := c.do(ctx, http.MethodGet, path, query, nil)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	r := reply{
		filtered: resp.Header.Get("X-Consul-Results-Filtered-By-ACLs") == "true",
		moved:    resp.Header.Get("X-Consul-Translate-Addresses") == "true",
		denies:   resp.Header.Get("X-Consul-Default-ACL-Policy") == "deny",
		leader:   resp.Header.Get("X-Consul-KnownLeader") != "false",
	}
	// No index, or one that is no number, is 0: the caller then polls.
	r.index, _ = strconv.ParseUint(resp.Header.Get("X-Consul-Index"), 10, 64)
	if ms, err := strconv.ParseInt(resp.Header.Get("X-Consul-LastContact"), 10, 64); err == nil && ms > 0 {
		r.contact = time.Duration(min(ms, maxContact)) * time.Millisecond
	}
	body := &capped{r: resp.Body, left: c.maxBody}
	if err := read(body); err != nil {
		if body.over {
			err = ErrTooLarge
		}
		return r, fmt.Errorf("reading the answer of %s: %w", path, err)
	}
	_, _ = io.CopyN(io.Discard, body, 64) // a trailing newline must not cost the connection
	return r, nil
}

// put sends v as JSON.
func (c *client) put(ctx context.Context, path string, query url.Values, v any) error {
	var body []byte
	if v != nil {
		var err error
		if body, err = json.Marshal(v); err != nil {
			return err
		}
	}
	resp, err := c.do(ctx, http.MethodPut, path, query, body)
	if err != nil {
		return err
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 4096)
	return resp.Body.Close()
}

// do sends one request. An answer other than 200 is a statusError.
func (c *client) do(ctx context.Context, method, path string, query url.Values, body []byte) (*http.Response, error) {
	u := *c.cfg.base
	u.RawPath = u.Path + path // escaped by the caller
	var err error
	if u.Path, err = url.PathUnescape(u.RawPath); err != nil {
		return nil, fmt.Errorf("path %q: %w", clip(u.RawPath), err)
	}
	if query == nil {
		query = url.Values{}
	}
	for k, v := range map[string]string{"ns": c.cfg.Namespace, "partition": c.cfg.Partition} {
		if v != "" {
			query.Set(k, v)
		}
	}
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if err := c.authorize(req); err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking Consul at %s: %w", c.where(), unwrapURL(err))
	}
	c.slots.saw(resp.ProtoMajor)
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
		resp.Body.Close()
		return nil, &statusError{Code: resp.StatusCode, Body: strings.TrimSpace(string(text))}
	}
	return resp, nil
}

// where names the agent in errors.
func (c *client) where() string {
	if c.cfg.socket != "" {
		return "unix://" + c.cfg.socket
	}
	return c.cfg.base.String()
}

// unwrapURL drops the query of a request from its error.
func unwrapURL(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err
	}
	return err
}

func (c *client) authorize(req *http.Request) error {
	if user, pass, _ := strings.Cut(c.cfg.HTTPAuth, ":"); user != "" {
		req.SetBasicAuth(user, pass)
	}
	token, err := c.currentToken()
	if err == nil && token != "" {
		req.Header.Set("X-Consul-Token", token)
	}
	return err
}

// currentToken is the token, read again from its file when that changed. A file
// that cannot be read keeps the last token.
func (c *client) currentToken() (string, error) {
	if c.cfg.TokenFile == "" {
		return c.cfg.Token, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	fi, err := os.Stat(c.cfg.TokenFile)
	if err == nil && !fi.ModTime().Equal(c.tokenMod) {
		var b []byte
		if b, err = os.ReadFile(c.cfg.TokenFile); err == nil {
			c.token, c.tokenMod = strings.TrimSpace(string(b)), fi.ModTime()
		}
	}
	if err != nil && c.token == "" {
		return "", fmt.Errorf("TokenFile: %w", err)
	}
	if strings.ContainsFunc(c.token, func(r rune) bool { return r < 0x21 || r > 0x7e }) {
		return "", fmt.Errorf("TokenFile %s holds more than a token", c.cfg.TokenFile)
	}
	return c.token, nil
}

func (c *client) close() { c.trans.CloseIdleConnections() }

// capped fails, rather than ends, when more than left bytes come. It fills p
// whenever it can: a JSON decoder scans what it has again with each read, and
// would spend minutes on megabytes of blanks that come in small pieces.
type capped struct {
	r    io.Reader
	left int64
	over bool
}

func (c *capped) Read(p []byte) (n int, err error) {
	if c.left <= 0 {
		c.over = true
		return 0, ErrTooLarge
	}
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	for n < len(p) && err == nil {
		var m int
		m, err = c.r.Read(p[n:])
		n += m
	}
	c.left -= int64(n)
	return n, err
}
