package mesh

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/chain"
	"github.com/weft-mesh/weft/resolver/consul"
)

// badEntries are sets of entries that must change nothing, with what the error names.
func badEntries() map[string]struct {
	text string
	want []string
} {
	set := func(entries ...string) string {
		return "[" + strings.Join(append([]string{webIsHTTP, adminIsHTTP, subsets}, entries...), ",") + "]"
	}
	routes := strings.TrimSuffix(strings.Repeat(`{"Match":{"HTTP":{"PathPrefix":"/x"}}},`, 5000), ",")
	type row = struct {
		text string
		want []string
	}
	return map[string]row{
		"not JSON":           {"{", nil},
		"binary":             {"\x00\xff\xfe", nil},
		"empty":              {"", nil},
		"unknown kind":       {set(`{"Kind":"service-magic","Name":"web"}`), []string{"service-magic"}},
		"a wrong type":       {set(`{"Kind":"service-splitter","Name":"web","Splits":"all"}`), []string{"service-splitter", "web", "Splits"}},
		"weights of 99":      {set(split("50", "49")), []string{"service-splitter", "web", "Splits"}},
		"negative weight":    {set(split("150", "-50")), []string{"service-splitter", "web", "Splits[0]"}},
		"subset that is not": {set(`{"Kind":"service-splitter","Name":"web","Splits":[{"Weight":100,"ServiceSubset":"v9"}]}`), []string{"service-splitter", "web", "v9"}},
		"bad filter":         {set(`{"Kind":"service-resolver","Name":"admin","Subsets":{"v1":{"Filter":"Service.Meta.v = 1"}}}`), []string{"service-resolver", "admin", `Subsets["v1"].Filter`}},
		"bad regex":          {set(`{"Kind":"service-router","Name":"web","Routes":[{"Match":{"HTTP":{"PathRegex":"("}}}]}`), []string{"service-router", "web", "PathRegex"}},
		"redirects in a circle": {set(`{"Kind":"service-resolver","Name":"a","Redirect":{"Service":"b"}}`, `{"Kind":"service-resolver","Name":"b","Redirect":{"Service":"a"}}`),
			[]string{"service-resolver", "Redirect"}},
		"splits in a circle": {set(splitServices("50", "50"), `{"Kind":"service-splitter","Name":"admin","Splits":[{"Weight":100,"Service":"web"}]}`),
			[]string{"service-splitter", "Splits"}},
		"a route over tcp": {"[" + `{"Kind":"service-router","Name":"plain","Routes":[]}` + "]", []string{"service-router", "plain"}},
		"two of one entry": {set(split("50", "50"), split("100", "0")), []string{"service-splitter", "web"}},
		"half a redirect":  {set(`{"Kind":"service-resolver","Name":"admin","Redirect":{"ServiceSubset":"v1"}}`), []string{"service-resolver", "admin", "Redirect"}},
		"thousands of routes": {set(`{"Kind":"service-router","Name":"web","Routes":[` + routes + `]}`),
			[]string{"router:web", "routes"}},
		"huge":          {set(`{"Kind":"service-defaults","Name":"big","Meta":{"k":"` + strings.Repeat("v", 40<<20) + `"}}`), nil},
		"deeply nested": {strings.Repeat("[", 1<<20), nil},
	}
}

// Malformed, cyclic, huge and contradictory entries are an error that names entry and
// field, and change nothing; at the start they are Join's.
func TestBadEntries(t *testing.T) {
	t.Parallel()
	e := embedded(t)
	start(t, e, nil, "web/v1@aws", "web/v2@aws")
	good := func(v1, v2 string) string {
		return "[" + strings.Join([]string{webIsHTTP, subsets, split(v1, v2)}, ",") + "]"
	}
	for name, c := range badEntries() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "web.json")
			write := func(text string) { t.Helper(); replaceFile(t, path, text) }
			names := func(err error) {
				t.Helper()
				if err == nil {
					t.Fatal("there is no error")
				}
				for _, w := range c.want {
					if !strings.Contains(err.Error(), w) {
						t.Errorf("%.500q does not name %s", err, w)
					}
				}
				if len(err.Error()) > 4000 {
					t.Errorf("the error has %d bytes", len(err.Error()))
				}
			}
			log := &lines{}
			cfg := Config{Service: "caller", Embedded: e, Locality: resolver.Locality{Cloud: "aws"}, Entries: []string{path}, Logger: log.logger()}
			write(c.text)
			late := strings.HasPrefix(name, "thousands") // the set is one of Consul's; its chain is refused
			if !late {
				if m, err := Join(t.Context(), cfg); err == nil {
					_ = m.Leave(context.Background())
					t.Fatal("Join takes it")
				} else if names(err); !strings.Contains(err.Error(), "Config.Entries") || !strings.Contains(err.Error(), "web.json") {
					t.Error(err)
				}
			}
			write(good("100", "0"))
			m := member(t, cfg)
			call := func() (string, error) { return get(bound(t), m, "http://web/") }
			await(t, "at first", call, "web/v1@aws")
			before := m.Routes()[0].Chain
			write(c.text)
			eventually(t, "it is refused", func() bool { return m.Routes()[0].Err != nil })
			names(m.Routes()[0].Err)
			eventually(t, "there is an event", func() bool { return log.count("config.rejected") > 0 })
			for range 5 {
				if who, err := call(); err != nil || who != "web/v1@aws" {
					t.Errorf("%s, %v", who, err)
				}
			}
			if m.Routes()[0].Chain != before {
				t.Error("the chain is another one")
			}
			write(good("0", "100"))
			await(t, "after a good one", call, "web/v2@aws")
			eventually(t, "nothing is wrong any more", func() bool { return m.Routes()[0].Err == nil })
		})
	}
}

// liar is a Consul whose answers about chains a test writes.
type liar struct {
	mu      sync.Mutex
	index   int
	answer  func(http.ResponseWriter)
	changed chan struct{}
}

func (l *liar) says(answer func(http.ResponseWriter)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.index, l.answer = l.index+1, answer
	if l.changed != nil {
		close(l.changed)
	}
	l.changed = make(chan struct{})
}

func (l *liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sent, _ := strconv.Atoi(r.URL.Query().Get("index"))
	for {
		l.mu.Lock()
		index, answer, changed := l.index, l.answer, l.changed
		l.mu.Unlock()
		if index > sent && strings.HasPrefix(r.URL.Path, "/v1/discovery-chain/") {
			w.Header().Set("X-Consul-Index", strconv.Itoa(index))
			answer(w)
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

// consulChain is web's chain to a subset, as Consul would say it.
func consulChain(service, subset string) string {
	id := subset + "." + service + ".default.default.aws"
	return fmt.Sprintf(`{"Chain":{"ServiceName":%q,"Namespace":"default","Partition":"default","Datacenter":"aws","Protocol":"http",
		"StartNode":"resolver:%s","Nodes":{"resolver:%s":{"Type":"resolver","Name":%q,"Resolver":{"ConnectTimeout":"5s","Target":%q}}},
		"Targets":{%q:{"ID":%q,"Service":%q,"ServiceSubset":%q,"Namespace":"default","Partition":"default","Datacenter":"aws","Subset":{"Filter":"Service.Meta.version == %s"}}}}}`,
		service, id, id, id, id, id, id, service, subset, subset)
}

// A Consul that answers nonsense costs no call: the last good chain holds, or, without
// one, the service itself.
func TestLyingConsul(t *testing.T) {
	t.Parallel()
	e := embedded(t)
	start(t, e, nil, "web/v1@aws", "web/v2@aws", "admin/v1@aws")
	text := func(s string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { _, _ = io.WriteString(w, s) }
	}
	good := consulChain("web", "v2")
	for name, answer := range map[string]func(http.ResponseWriter){
		"garbage":         text("\x00<html>"),
		"truncated":       text(good[:len(good)-30]),
		"huge":            text(strings.Repeat(" ", 9<<20)),
		"another service": text(consulChain("admin", "v1")),
		"no targets":      text(good[:strings.Index(good, `"Targets"`)] + `"Targets":{}}}`),
		"500":             func(w http.ResponseWriter) { http.Error(w, "No cluster leader", 500) },
		"404":             func(w http.ResponseWriter) { http.NotFound(w, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &liar{}
			l.says(answer)
			server := httptest.NewServer(l)
			t.Cleanup(server.Close)
			source, err := consul.New(consul.Config{Name: "aws", Address: server.URL})
			if err != nil {
				t.Fatal(err)
			}
			chains := source.Chains("")
			t.Cleanup(func() { _ = chains.Close(context.Background()); _ = source.Close(context.Background()) })
			join := func() (*Mesh, *lines) {
				log := &lines{}
				return member(t, Config{Service: "caller", Embedded: e, Locality: resolver.Locality{Cloud: "aws"}, Chains: chains, Logger: log.logger()}), log
			}
			m, log := join()
			for range 4 {
				if who, err := get(bound(t), m, "http://web/"); err != nil || !strings.HasPrefix(who, "web/") {
					t.Fatalf("before anything is known: %s, %v", who, err)
				}
			}
			if r := m.Routes()[0]; r.Err == nil || r.Chain != nil || log.count("config.rejected", "service=web") == 0 {
				t.Errorf("the status is %+v", r)
			}
			if name == "huge" {
				return // is asked again after a while only
			}
			l.says(text(good))
			eventually(t, "the chain is known", func() bool { return m.Routes()[0].Err == nil })
			l.says(answer)
			eventually(t, "it is refused", func() bool { return m.Routes()[0].Err != nil })
			for range 10 {
				if who, err := get(bound(t), m, "http://web/"); err != nil || who != "web/v2@aws" {
					t.Fatalf("by the last good chain: %s, %v", who, err)
				}
			}
			if x, err := m.Explain("web", chain.Recorded{Path: "/"}); err != nil || !strings.Contains(x.String(), "v2.web") {
				t.Errorf("%v, %v", x, err)
			}
		})
	}
}
