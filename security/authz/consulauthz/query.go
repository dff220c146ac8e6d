package consulauthz

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// pace is the least time between two answers: a blocking query can return at
	// once many times, and changes that come together are better read together.
	pace        = 50 * time.Millisecond
	baseBackoff = 100 * time.Millisecond
	maxAnswer   = 4 << 20
	askTimeout  = 10 * time.Second
)

// follow makes blocking queries until ctx ends. The same index again is no news; a
// lower one means that Consul lost its state, and is read again from 0; after an
// error it starts from 0.
func (s *Source) follow(ctx context.Context, what, path string, query map[string]string, take func(body []byte, index uint64, lost bool) error, failed func()) {
	var index, highest uint64
	failures := 0
	for ctx.Err() == nil {
		body, got, err := s.get(ctx, path, query, index)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && got == 0:
			err = errors.New("the answer has no index")
		case err == nil && index > 0 && got == index:
			s.outcome(what, nil)
			if take(nil, got, false) != nil { // only what goes along with it
				got = 0
			}
		case err == nil && got < index:
			index = 0
			sleep(ctx, pace)
			continue
		case err == nil:
			err = take(body, got, got < highest)
		}
		if err != nil && !errors.Is(err, errHeld) {
			index = 0
			s.outcome(what, err)
			failed()
			sleep(ctx, rand.N(min(baseBackoff<<min(failures, 20), s.cfg.MaxBackoff)+1))
			failures++
			continue
		}
		s.outcome(what, nil)
		failures, index = 0, got
		if errors.Is(err, errHeld) {
			index = 0 // look again soon
			sleep(ctx, time.Second)
			continue
		}
		highest = got
		sleep(ctx, pace)
	}
}

// errHeld says that an answer is not believed yet.
var errHeld = errors.New("held")

// get asks the agent once.
func (s *Source) get(ctx context.Context, path string, query map[string]string, index uint64) ([]byte, uint64, error) {
	q := url.Values{}
	for k, v := range query {
		q.Set(k, v)
	}
	timeout := askTimeout
	if index > 0 {
		q.Set("index", strconv.FormatUint(index, 10))
		q.Set("wait", fmt.Sprintf("%dms", s.cfg.Wait.Milliseconds()))
		timeout += s.cfg.Wait + s.cfg.Wait/16
	}
	// An agent that hangs would otherwise block for ever.
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	body, header, err := s.do(ctx, http.MethodGet, path, q, nil)
	if err != nil {
		return nil, 0, err
	}
	got, _ := strconv.ParseUint(header.Get("X-Consul-Index"), 10, 64) // none, or no number: 0
	return body, got, nil
}

// do sends one request and reads the whole answer.
func (s *Source) do(ctx context.Context, method, path string, q url.Values, send any) ([]byte, http.Header, error) {
	for k, v := range map[string]string{"dc": s.conf.Datacenter, "ns": s.conf.Namespace, "partition": s.conf.Partition} {
		if v != "" {
			q.Set(k, v)
		}
	}
	u := url.URL{Scheme: s.conf.Scheme, Host: s.conf.Address, Path: s.conf.PathPrefix + path, RawQuery: q.Encode()}
	if strings.HasPrefix(u.Host, "/") { // a socket
		u.Host = "localhost"
	}
	var content io.Reader
	if send != nil {
		data, err := json.Marshal(send)
		if err != nil {
			return nil, nil, err
		}
		content = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), content)
	if err != nil {
		return nil, nil, err
	}
	if s.conf.Token != "" {
		req.Header.Set("X-Consul-Token", s.conf.Token)
	}
	if a := s.conf.HttpAuth; a != nil {
		req.SetBasicAuth(a.Username, a.Password)
	}
	resp, err := s.conf.HttpClient.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, nil, fmt.Errorf("ask Consul's agent at %s: %w", s.conf.Address, err)
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("read the answer of Consul's agent: %w", err)
	case len(body) > maxAnswer:
		return nil, nil, fmt.Errorf("the answer of Consul's agent to %s is longer than %d bytes", path, maxAnswer)
	case resp.StatusCode != http.StatusOK:
		return nil, nil, &statusError{resp.StatusCode, path, plain(string(body))}
	}
	return body, resp.Header, nil
}

type statusError struct {
	code       int
	path, text string
}

func (e *statusError) Error() string {
	s := fmt.Sprintf("Consul's agent answers %s with status %d: %s", e.path, e.code, e.text)
	if e.code == http.StatusForbidden {
		s += " (the token needs service:write for the service)"
	}
	return s
}

// plain makes text from outside safe to log.
func plain(s string) string {
	if len(s) > 200 {
		s = s[:200] + "…"
	}
	s = strconv.QuoteToGraphic(strings.TrimSpace(s))
	return s[1 : len(s)-1]
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
