package resolver_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/static"
)

// An empty answer after a list is held, visibly, and believed at the end of the hold.
func TestEmptyAnswerIsHeld(t *testing.T) {
	t.Parallel()
	for _, kept := range []int{1, 2, 10} {
		synctest.Test(t, func(t *testing.T) {
			var log events
			cat := static.New(static.Config{})
			set(t, cat, "payments", kept)
			c := newCache(t, cat, resolver.CacheConfig{Name: "aws", Logger: log.logger()})
			o := observe(t, c, "payments")
			before := o.now()

			begun := time.Now()
			cat.Remove("payments")
			s := o.now()
			if s.State != resolver.Known || !slices.Equal(s.Endpoints, before.Endpoints) {
				t.Fatalf("%+v, want all %d endpoints kept", s, kept)
			}
			if h := s.Held; h == nil || !h.Since.Equal(begun) || h.Until.Sub(h.Since) != 5*time.Minute || h.Reported != 0 || h.Kept != kept || !strings.HasPrefix(h.Reason, "empty") {
				t.Errorf("held %+v, want an empty answer held for 5 min", h)
			}
			if log.count("registry.empty_held") != 1 {
				t.Errorf("events %v, want one registry.empty_held", log.names)
			}
			if st := c.Status(); len(st) != 1 || st[0].Held == nil || st[0].Endpoints != kept {
				t.Errorf("status %+v", st)
			}
			time.Sleep(5*time.Minute - time.Second)
			if s := o.now(); len(s.Endpoints) != kept {
				t.Errorf("%d endpoints just before the end of the hold, want %d", len(s.Endpoints), kept)
			}
			time.Sleep(time.Second)
			if s := o.now(); s.State != resolver.Known || len(s.Endpoints) != 0 || s.Held != nil {
				t.Errorf("%+v after the hold, want a known empty list", s)
			}
			if log.count("registry.hold_ended") != 1 {
				t.Errorf("events %v, want one registry.hold_ended", log.names)
			}
		})
	}
}

func TestMassRemoval(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name         string
		before, left int
		fraction     float64
		held         bool
	}{
		{"half is believed", 10, 5, 0, false},
		{"more than half is held", 10, 4, 0, true},
		{"one of two is believed", 2, 1, 0, false},
		{"two of three are believed", 3, 1, 0, false},
		{"three of four are held", 4, 1, 0, true},
		{"one of one is held", 1, 0, 0, true},
		{"a stricter fraction", 10, 7, 0.2, true},
		{"all but one with fraction one", 10, 1, 1, false},
		{"empty with fraction one", 10, 0, 1, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cat := static.New(static.Config{})
				set(t, cat, "payments", tt.before)
				o := observe(t, newCache(t, cat, resolver.CacheConfig{MassRemoval: tt.fraction}), "payments")
				o.now()
				set(t, cat, "payments", tt.left)
				s := o.now()
				want := tt.left
				if tt.held {
					want = tt.before
				}
				if (s.Held != nil) != tt.held || len(s.Endpoints) != want {
					t.Errorf("held %+v with %d endpoints; want held %v with %d", s.Held, len(s.Endpoints), tt.held, want)
				}
			})
		})
	}
}

// While a removal is held, new endpoints and new facts are taken at once, a sane
// answer ends the hold, and a repeated suspicious one does not prolong it.
func TestHoldTakesWhatIsNew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cat := static.New(static.Config{})
		set(t, cat, "payments", 10)
		o := observe(t, newCache(t, cat, resolver.CacheConfig{}), "payments")
		o.now()
		must(t, cat.Set("payments", resolver.Endpoint{Addr: addr(1), Weight: 7}, resolver.Endpoint{Addr: "10.9.9.9:9"}))
		s := o.now()
		if len(s.Endpoints) != 11 || s.Held == nil || s.Held.Reported != 2 || s.Held.Kept != 10 {
			t.Fatalf("%d endpoints, held %+v; want the 10 kept and the new one", len(s.Endpoints), s.Held)
		}
		for _, e := range s.Endpoints {
			if e.Addr == addr(1) && e.Weight != 7 {
				t.Errorf("the new weight was not taken: %+v", e)
			}
		}
		until := s.Held.Until
		time.Sleep(4 * time.Minute)
		cat.Remove("payments")
		if s := o.now(); len(s.Endpoints) != 10 || !s.Held.Until.Equal(until) {
			t.Errorf("%d endpoints until %v, want 10 until %v", len(s.Endpoints), s.Held.Until, until)
		}
		set(t, cat, "payments", 9)
		if s := o.now(); len(s.Endpoints) != 9 || s.Held != nil {
			t.Errorf("%d endpoints, held %+v after a sane answer; want 9", len(s.Endpoints), s.Held)
		}
	})
}

// Endpoints that live traffic has proven dead leave a held list early; the rest
// is believed once what is missing is no longer suspicious.
func TestEvidenceEndsAHold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		dead := map[string]bool{}
		kill := func(n int) {
			mu.Lock()
			defer mu.Unlock()
			for i := range n {
				dead[addr(i+1)] = true
			}
		}
		cat := static.New(static.Config{})
		set(t, cat, "payments", 10)
		o := observe(t, newCache(t, cat, resolver.CacheConfig{Dead: func(id resolver.ID) bool {
			mu.Lock()
			defer mu.Unlock()
			return dead[id.Instance]
		}}), "payments")
		o.now()
		kill(2)
		must(t, cat.Set("payments"))
		if s := o.now(); len(s.Endpoints) != 8 || s.Held == nil || s.Held.Kept != 8 {
			t.Fatalf("%d endpoints, held %+v; want the 8 that are not proven dead", len(s.Endpoints), s.Held)
		}
		kill(10)
		time.Sleep(2 * time.Second)
		if s := o.now(); s.State != resolver.Known || len(s.Endpoints) != 0 || s.Held != nil {
			t.Errorf("%+v, want the empty answer believed: all are dead", s)
		}
	})
}

// A hold waits while the source is lost: a lost source confirms nothing.
func TestHoldWaitsForALostSource(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cat := static.New(static.Config{})
		set(t, cat, "payments", 4)
		o := observe(t, newCache(t, cat, resolver.CacheConfig{}), "payments")
		o.now()
		cat.Remove("payments")
		o.now()
		cat.Lose(errBroken)
		time.Sleep(time.Hour)
		if s := o.now(); s.State != resolver.Stale || len(s.Endpoints) != 4 || !errors.Is(s.Reason, errBroken) {
			t.Errorf("%+v, want the 4 kept, stale", s)
		}
		cat.Restore()
		if s := o.now(); s.State != resolver.Known || len(s.Endpoints) != 0 {
			t.Errorf("%+v, want the answer believed: its time is over", s)
		}
	})
}

func TestHoldOffBelievesAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cat := static.New(static.Config{})
		set(t, cat, "payments", 10)
		o := observe(t, newCache(t, cat, resolver.CacheConfig{Hold: -1}), "payments")
		o.now()
		cat.Remove("payments")
		if s := o.now(); len(s.Endpoints) != 0 || s.Held != nil {
			t.Errorf("%+v, want an empty list", s)
		}
	})
}

// A registry that flaps must not move an unchanged endpoint: same pointers, same
// order, at most one watch.
func TestFlappingSource(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cat := static.New(static.Config{})
		set(t, cat, "payments", 5)
		src := &counted{Catalog: cat}
		o := observe(t, newCache(t, src, resolver.CacheConfig{}), "payments")
		before := o.now().Endpoints
		for i := range 60 {
			switch i % 4 {
			case 0:
				cat.Lose(errBroken)
			case 1:
				cat.Restore()
			case 2:
				cat.Remove("payments") // the answer of a server without a leader
			case 3:
				set(t, cat, "payments", 5)
			}
			if s := o.now(); !slices.EqualFunc(s.Endpoints, before, (*resolver.Endpoint).Equal) {
				t.Fatalf("step %d: %d endpoints, want the same 5", i, len(s.Endpoints))
			}
			time.Sleep(3 * time.Second)
		}
		if n := src.begun.Load(); n != 1 {
			t.Errorf("%d watches begun, want 1", n)
		}
	})
}

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

// The list outlives its watch: a service that nobody used for long is served at
// once when the source is lost meanwhile.
func TestMemoryOutlivesReaders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cat := static.New(static.Config{})
		src := &counted{Catalog: cat}
		set(t, cat, "payments", 3)
		c := newCache(t, src, resolver.CacheConfig{})
		o := observe(t, c, "payments")
		o.now()
		must(t, ignoreCanceled(o.end()))
		time.Sleep(9 * time.Minute)
		if n := src.running.Load(); n != 1 {
			t.Errorf("%d watches while lingering, want 1", n)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := src.running.Load(); n != 0 {
			t.Errorf("%d watches after the linger, want 0", n)
		}
		cat.Lose(errBroken)
		cat.Remove("payments")
		if s := observe(t, c, "payments").now(); s.State != resolver.Stale || len(s.Endpoints) != 3 {
			t.Errorf("%+v, want the 3 from memory", s)
		}
		// A name without endpoints leaves nothing behind.
		o = observe(t, c, "nothing")
		o.now()
		must(t, ignoreCanceled(o.end()))
		time.Sleep(time.Hour)
		synctest.Wait()
		if st := c.Status(); len(st) != 1 {
			t.Errorf("status %+v, want only payments", st)
		}
	})
}

func ignoreCanceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func TestCacheConfigIsChecked(t *testing.T) {
	t.Parallel()
	nan := 0.0
	nan /= nan
	for want, cfg := range map[string]resolver.CacheConfig{
		"MaxAge": {MaxAge: -1}, "MassRemoval -": {MassRemoval: -0.1}, "MassRemoval 1.1": {MassRemoval: 1.1}, "MassRemoval NaN": {MassRemoval: nan},
	} {
		if _, err := resolver.NewCache(silent{}, cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want one with %q", cfg, err, want)
		}
	}
	if _, err := resolver.NewCache(nil, resolver.CacheConfig{}); err == nil {
		t.Error("a cache of nothing was made")
	}
}
