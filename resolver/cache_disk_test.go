package resolver_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/static"
)

// The process restarts while its source is away: it serves from disk within two
// seconds, says so, and takes the source's answer when it returns.
func TestRestartInAnOutage(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]func(*static.Catalog) resolver.Catalog{
		"refuses":   func(c *static.Catalog) resolver.Catalog { c.Lose(errBroken); return c },
		"is silent": func(*static.Catalog) resolver.Catalog { return silent{} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "snapshots")
			synctest.Test(t, func(t *testing.T) {
				cat := static.New(static.Config{Name: "aws"})
				must(t, cat.Set("payments", resolver.Endpoint{
					ID:   resolver.ID{Node: "vm-7", Instance: "payments-1"},
					Addr: "[2001:db8::1]:9000", Locality: resolver.Locality{Cloud: "aws", Region: "r", Zone: "z"},
					Weight: 7, Health: resolver.Warning, Protocol: "grpc", SPIFFEID: "spiffe://td/payments",
					Tags: []string{"v1"}, Metadata: map[string]string{"k": "v"},
				}, resolver.Endpoint{Addr: "10.0.0.2:2"}))
				cfg := resolver.CacheConfig{Name: "aws", Dir: dir}
				c := newCache(t, cat, cfg)
				before := observe(t, c, "payments").now()
				confirmed := time.Now()
				must(t, c.Close(t.Context()))

				time.Sleep(10 * time.Minute)
				var log events
				cfg.Logger = log.logger()
				c = newCache(t, lost(static.New(static.Config{Name: "aws"})), cfg)
				o := observe(t, c, "payments")
				if s := o.now(); name == "is silent" && s.State != resolver.Unknown {
					t.Errorf("%s at once, want unknown until the source had a moment", s.State)
				}
				time.Sleep(2 * time.Second)
				s := o.now()
				if s.State != resolver.Stale || s.Reason == nil || !s.AsOf.Equal(confirmed) || !s.StaleSince.Equal(confirmed) {
					t.Errorf("%+v, want stale since %v", s, confirmed)
				}
				if !slices.EqualFunc(s.Endpoints, before.Endpoints, (*resolver.Endpoint).Equal) {
					t.Errorf("%v from disk, want the same endpoints as before", s.Endpoints)
				}
				if st := c.Status(); !st[0].FromDisk || !st[0].Watched {
					t.Errorf("status %+v, want from disk", st)
				}
				if log.count("registry.snapshot_loaded") != 1 {
					t.Errorf("events %v", log.names)
				}
			})
		})
	}
}

// A list that never changes stays young on disk while the source confirms it, and
// too old a file is not used.
func TestDiskAge(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cat := static.New(static.Config{})
		set(t, cat, "payments", 3)
		cfg := resolver.CacheConfig{Dir: dir}
		c := newCache(t, cat, cfg)
		observe(t, c, "payments").now()
		time.Sleep(72 * time.Hour)
		must(t, c.Close(t.Context()))
		last := time.Now()

		time.Sleep(22 * time.Hour)
		c = newCache(t, silent{}, cfg)
		o := observe(t, c, "payments")
		time.Sleep(time.Second)
		if s := o.now(); s.State != resolver.Stale || len(s.Endpoints) != 3 || last.Sub(s.AsOf) > time.Hour {
			t.Errorf("%+v, want the list as of at most an hour before %v", s, last)
		}
		must(t, c.Close(t.Context()))

		time.Sleep(3 * time.Hour)
		var log events
		cfg.Logger = log.logger()
		o = observe(t, newCache(t, silent{}, cfg), "payments")
		time.Sleep(time.Second)
		if s := o.now(); s.State != resolver.Unknown || log.count("registry.snapshot_ignored") != 1 {
			t.Errorf("%+v with events %v, want a file over 24 h ignored", s, log.names)
		}
	})
}

// Files that are damaged, foreign or open to others are reported and not used.
func TestDiskRefusesWhatItCannotTrust(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		spoil func(t *testing.T, path string, data []byte)
		want  string
	}{
		{"cut off", func(t *testing.T, path string, data []byte) { must(t, os.WriteFile(path, data[:len(data)-9], 0o600)) }, "checksum"},
		{"a flipped bit", func(t *testing.T, path string, data []byte) {
			data[len(data)-9] ^= 1
			must(t, os.WriteFile(path, data, 0o600))
		}, "checksum"},
		{"empty", func(t *testing.T, path string, _ []byte) { must(t, os.WriteFile(path, nil, 0o600)) }, "not a snapshot file"},
		{"another version", func(t *testing.T, path string, data []byte) {
			must(t, os.WriteFile(path, []byte(strings.Replace(string(data), "weft-snapshot 1", "weft-snapshot 2", 1)), 0o600))
		}, "version"},
		{"open to others", func(t *testing.T, path string, _ []byte) { must(t, os.Chmod(path, 0o640)) }, "open to others"},
		{"a link", func(t *testing.T, path string, _ []byte) {
			must(t, os.Rename(path, path+".x"))
			must(t, os.Symlink(path+".x", path))
		}, "not a regular file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				cat := static.New(static.Config{})
				set(t, cat, "payments", 3)
				c := newCache(t, cat, resolver.CacheConfig{Dir: dir})
				observe(t, c, "payments").now()
				must(t, c.Close(t.Context()))
				files, err := filepath.Glob(filepath.Join(dir, "*"))
				must(t, err)
				if len(files) != 1 {
					t.Fatalf("files %q, want one and no temporary ones", files)
				}
				info, err := os.Stat(files[0])
				must(t, err)
				if info.Mode().Perm() != 0o600 {
					t.Errorf("mode %v, want 0600", info.Mode())
				}
				data, err := os.ReadFile(files[0])
				must(t, err)
				tt.spoil(t, files[0], data)

				var log events
				o := observe(t, newCache(t, silent{}, resolver.CacheConfig{Dir: dir, Logger: log.logger()}), "payments")
				time.Sleep(time.Second)
				if s := o.now(); s.State != resolver.Unknown || len(s.Endpoints) != 0 {
					t.Errorf("%+v, want unknown", s)
				}
				if log.count("registry.snapshot_ignored") != 1 || !strings.Contains(log.text.String(), tt.want) {
					t.Errorf("events %v: %s; want one registry.snapshot_ignored with %q", log.names, log.text.String(), tt.want)
				}
			})
		})
	}
}

// A directory that cannot be written is told, and costs nothing else.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	synctest.Test(t, func(t *testing.T) {
		var log events
		cat := static.New(static.Config{})
		set(t, cat, "payments", 3)
		c := newCache(t, cat, resolver.CacheConfig{Dir: filepath.Join(file, "dir"), Logger: log.logger()})
		o := observe(t, c, "payments")
		o.now()
		time.Sleep(5 * time.Second)
		if s := o.now(); s.State != resolver.Known || len(s.Endpoints) != 3 {
			t.Errorf("%+v, want 3 known endpoints", s)
		}
		if st := c.Status(); st[0].DiskError == nil || log.count("registry.snapshot_failed") != 1 {
			t.Errorf("status %+v, events %v; want the write error once", st, log.names)
		}
	})
}
