package chain

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/resolver"
)

// write puts content in place by a rename, as the documentation asks.
func write(t testing.TB, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	return path
}

const webDefaults = `{"Kind": "service-defaults", "Name": "web", "Protocol": "http"}`

func TestLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "web.json", webDefaults)
	write(t, dir, "router.hcl", strings.Replace(routerHCL, `Service = "api"`, `Service = "web"`, 1))
	write(t, dir, "web.yaml", "kind: service-resolver\nname: web\nsubsets: {v2: {filter: 'Service.Meta.v == \"2\"'}}\ncolour: blue\n")
	write(t, dir, "README.md", "not an entry")
	write(t, dir, ".hidden.json", "not an entry")
	if err := os.Mkdir(filepath.Join(dir, "more.yml"), 0o700); err != nil {
		t.Fatal(err)
	}
	set, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Entries()) != 3 || len(set.Problems()) != 1 || !strings.HasSuffix(set.Problems()[0].Source, "web.yaml") || set.Problems()[0].Field != "colour" {
		t.Errorf("%d entries, problems %v", len(set.Entries()), set.Problems())
	}
	c, err := set.Compile("web", CompileConfig{})
	if err != nil || c.Nodes[c.StartNode].Type != RouterNode {
		t.Errorf("%+v, %v", c, err)
	}
	if one, err := Load(filepath.Join(dir, "web.json")); err != nil || one.ServiceDefaults("WEB").Protocol != "http" {
		t.Errorf("%v", err)
	}
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		files map[string]string
		path  string // of what is loaded, in the folder
		want  []string
	}{
		"missing":        {nil, "none.json", []string{"none.json", "no such file"}},
		"empty folder":   {nil, "", []string{"has no file that ends in"}},
		"other name":     {map[string]string{"a.txt": ""}, "a.txt", []string{"a.txt: the name must end"}},
		"not valid":      {map[string]string{"a.json": `{"Kind": "service-splitter", "Name": "web", "Splits": [{"Weight": 99}]}`}, "", []string{`a.json: service-splitter "web": Splits: the weights sum up to 99`}},
		"not JSON":       {map[string]string{"a.json": `{`}, "", []string{"a.json: byte 1: the JSON text ends too early"}},
		"two bad":        {map[string]string{"a.json": `{`, "b.yaml": "kind: x\nname: y"}, "", []string{"a.json", `b.yaml: x "y": this kind is not known`}},
		"not together":   {map[string]string{"a.hcl": `kind = "service-router" name = "web"`}, "", []string{`a.hcl: service-router "web"`, "tcp"}},
		"in two files":   {map[string]string{"a.json": webDefaults, "b.json": webDefaults}, "", []string{`b.json: service-defaults "web": stands in`, "a.json too"}},
		"too large":      {map[string]string{"a.json": strings.Repeat(" ", maxEntryBytes+1)}, "a.json", []string{"a.json: 4194305 bytes"}},
		"broken symlink": {map[string]string{"a.json": webDefaults}, "", []string{"b.json"}},
	} {
		dir := t.TempDir()
		for file, content := range tc.files {
			write(t, dir, file, content)
		}
		if name == "broken symlink" {
			if err := os.Symlink(filepath.Join(dir, "none"), filepath.Join(dir, "b.json")); err != nil {
				t.Fatal(err)
			}
		}
		set, err := Load(filepath.Join(dir, tc.path))
		if err == nil || set != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, w := range tc.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: error %q does not say %q", name, err, w)
			}
		}
	}
	if _, err := Load(); err == nil {
		t.Error("no path at all was accepted")
	}
}

// syncBuffer is a log that tests may read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// until watches until a set is ok, and returns it.
func until(t testing.TB, f *File, ok func(*EntrySet) bool) *EntrySet {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var found *EntrySet
	err := f.Watch(ctx, func(s *EntrySet) {
		if found == nil && ok(s) {
			found = s
			cancel()
		}
	})
	if found == nil {
		t.Fatalf("no such set: %v, %v", err, f.Err())
	}
	return found
}

func TestOpenFollows(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "a.json", webDefaults)
	var log syncBuffer
	f, err := Open(t.Context(), FileConfig{Poll: time.Millisecond, Logger: slog.New(slog.NewTextHandler(&log, nil))}, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close(context.Background())
	first := f.Set()
	if len(first.Entries()) != 1 || f.Err() != nil {
		t.Fatalf("%v, %v", first.Entries(), f.Err())
	}
	write(t, dir, "b.yaml", "kind: service-router\nname: web\ncolour: blue\n")
	second := until(t, f, func(s *EntrySet) bool { return len(s.Entries()) == 2 })

	// A bad file changes nothing, and is reported.
	write(t, dir, "a.json", strings.Replace(webDefaults, "http", "tcp", 1))
	poll(t, func() bool { return f.Err() != nil })
	if f.Set() != second || !strings.Contains(f.Err().Error(), `b.yaml: service-router "web"`) {
		t.Errorf("%v", f.Err())
	}
	// The same content as before is good again, and no new set.
	write(t, dir, "a.json", webDefaults)
	poll(t, func() bool { return f.Err() == nil })
	if f.Set() != second {
		t.Error("the same content gave another set")
	}
	if err := os.Remove(filepath.Join(dir, "b.yaml")); err != nil {
		t.Fatal(err)
	}
	until(t, f, func(s *EntrySet) bool { return len(s.Entries()) == 1 })
	if err := os.Remove(filepath.Join(dir, "a.json")); err != nil {
		t.Fatal(err)
	}
	poll(t, func() bool { return f.Err() != nil })
	if len(f.Set().Entries()) != 1 {
		t.Error("no files at all dropped the entries")
	}
	for _, event := range []string{"config.loaded", "config.not_honoured", "field=colour", "config.rejected", "config.restored"} {
		if !strings.Contains(log.String(), event) {
			t.Errorf("the log has no %s: %s", event, log.String())
		}
	}
	if n := strings.Count(log.String(), "config.rejected"); n != 2 {
		t.Errorf("%d rejections in the log: %s", n, log.String())
	}

	done := make(chan error)
	go func() { done <- f.Watch(context.Background(), func(*EntrySet) {}) }()
	for range 2 {
		if err := f.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := <-done; !errors.Is(err, resolver.ErrClosed) {
		t.Errorf("a watch of a closed file ended with %v", err)
	}
}

// A file that goes between the listing of its folder and its reading is a change,
// not an error.
func TestOpenBesideFilesThatComeAndGo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "a.json", webDefaults)
	var log syncBuffer
	f, err := Open(t.Context(), FileConfig{Poll: 50 * time.Microsecond, Logger: slog.New(slog.NewTextHandler(&log, nil))}, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close(context.Background())
	for range 2000 {
		name := write(t, dir, "b.yaml", "kind: service-defaults\nname: other\n")
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	write(t, dir, "b.yaml", "kind: service-defaults\nname: last\n")
	until(t, f, func(s *EntrySet) bool {
		return slices.ContainsFunc(s.Entries(), func(e Entry) bool { return e.EntryName() == "last" })
	})
	if strings.Contains(log.String(), "config.rejected") {
		t.Errorf("rejected: %s", log.String())
	}
}

// poll waits for what another goroutine does, without an end of its own but the
// test's.
func poll(t testing.TB, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal("it did not happen in 20 s")
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := write(t, dir, "a.json", `{"Kind": "service-router", "Name": "web"}`)
	if _, err := Open(t.Context(), FileConfig{}, path); err == nil {
		t.Error("a bad first content was accepted")
	}
	if _, err := Open(t.Context(), FileConfig{Poll: -1}, path); err == nil {
		t.Error("a negative Poll was accepted")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, FileConfig{}, path); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
