package consul

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

// question is one health query as the fake sees it.
type question struct {
	n       int // how many came before
	service string
	index   uint64
	wait    time.Duration
	stale   bool
	token   string
	ctx     context.Context
}

// response is what the fake answers. The zero value is an empty list without an index.
type response struct {
	status int // 0: 200
	index  uint64
	body   string // empty: "[]"
	header map[string]string
	hang   bool // never answer
	raw    func(http.ResponseWriter)
}

// fake is a Consul agent of which a test writes the answers.
type fake struct {
	mu     sync.Mutex
	answer func(question) response
	roots  func(http.ResponseWriter, *http.Request) // nil: the trust domain "td"
	asked  int
	perSvc map[string]int

	conns, maxConns int
	listener        *memListener
	server          *http.Server
	served          sync.WaitGroup
}

// bubble runs a test in virtual time with a fake and a catalog of it.
func bubble(t *testing.T, cfg Config, answer func(question) response, test func(t *testing.T, f *fake, c *Catalog)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answer: answer, perSvc: map[string]int{}, listener: &memListener{conns: make(chan net.Conn), closed: make(chan struct{})}}
		f.server = &http.Server{Handler: f, ConnState: f.connState}
		f.served.Go(func() { _ = f.server.Serve(f.listener) })
		if cfg.Address == "" {
			cfg.Address = "consul.test:8500"
		}
		c, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		c.client.trans.DialContext = f.listener.dial
		c.client.maxBody = 1 << 20
		test(t, f, c)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		synctest.Wait()
		if n := f.open(); n != 0 {
			t.Errorf("%d connections are open after Close", n)
		}
		f.server.Close()
		f.served.Wait()
	})
}

func (f *fake) open() int { f.mu.Lock(); defer f.mu.Unlock(); return f.conns }

func (f *fake) queries() int { f.mu.Lock(); defer f.mu.Unlock(); return f.asked }

func (f *fake) set(answer func(question) response) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

func (f *fake) connState(_ net.Conn, s http.ConnState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch s {
	case http.StateNew:
		f.conns++
		f.maxConns = max(f.maxConns, f.conns)
	case http.StateClosed, http.StateHijacked:
		f.conns--
	}
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	service, isHealth := strings.CutPrefix(r.URL.Path, "/v1/health/service/")
	if _, mesh := strings.CutPrefix(r.URL.Path, "/v1/health/connect/"); mesh {
		w.Header().Set("X-Consul-Index", "7")
		fmt.Fprint(w, "[]")
		return
	}
	if !isHealth {
		f.mu.Lock()
		roots := f.roots
		f.mu.Unlock()
		if roots != nil {
			roots(w, r)
			return
		}
		if r.URL.Query().Get("index") != "" {
			<-r.Context().Done()
			return
		}
		w.Header().Set("X-Consul-Index", "7")
		fmt.Fprint(w, `{"TrustDomain":"td"}`)
		return
	}
	q := question{service: service, token: r.Header.Get("X-Consul-Token"), stale: r.URL.Query().Has("stale"), ctx: r.Context()}
	q.index, _ = strconv.ParseUint(r.URL.Query().Get("index"), 10, 64)
	q.wait, _ = time.ParseDuration(r.URL.Query().Get("wait"))
	f.mu.Lock()
	q.n = f.perSvc[service]
	f.perSvc[service]++
	f.asked++
	answer := f.answer
	f.mu.Unlock()
	a := answer(q)
	if a.hang {
		<-r.Context().Done()
		return
	}
	if a.raw != nil {
		a.raw(w)
		return
	}
	for k, v := range a.header {
		w.Header().Set(k, v)
	}
	w.Header().Set("X-Consul-Index", strconv.FormatUint(a.index, 10))
	w.WriteHeader(cmp.Or(a.status, http.StatusOK))
	fmt.Fprint(w, cmp.Or(a.body, "[]"))
}

// steps answers the queries of a service one after the other, and then blocks
// like a service that does not change.
func steps(responses ...response) func(question) response {
	return func(q question) response {
		if q.n < len(responses) {
			return responses[q.n]
		}
		return block(q, responses[len(responses)-1])
	}
}

// block waits as Consul does when nothing changes: not at all for index 0.
func block(q question, same response) response {
	if q.index > 0 {
		select {
		case <-time.After(q.wait):
		case <-q.ctx.Done():
		}
	}
	return same
}

// instances is a list of n native, passing instances.
func instances(n int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(`{"Node":{"Node":"n","Address":"10.0.0.1","Datacenter":"dc1"},
			"Service":{"ID":"i%03d","Service":"","Port":%d,"Connect":{"Native":true}},"Checks":[{"Status":"passing"}]}`, i, 1000+i)
	}
	return "[" + strings.Join(all, ",") + "]"
}

// pass lets virtual time go by, and what it set off settle.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// memListener is a network in memory that virtual time can see.
type memListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *memListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *memListener) Addr() net.Addr { return &net.TCPAddr{} }

// last waits until nothing moves any more, and returns the newest snapshot.
func (r *reader) last() *resolver.Snapshot {
	synctest.Wait()
	all := r.seen()
	if len(all) == 0 {
		r.t.Fatal("no snapshot")
	}
	return all[len(all)-1]
}
