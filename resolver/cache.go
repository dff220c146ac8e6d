package resolver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weft-mesh/weft/resolver/internal/hub"
)

// CacheConfig adjusts a Cache. The zero value keeps lists in memory only, and
// holds suspicious changes for five minutes.
type CacheConfig struct {
	// Name is the name of the source in events, Status and on disk. Empty: "catalog".
	Name string
	// Dir is the directory of the disk snapshots. It is made with mode 0700; the
	// files have mode 0600. Several processes may share it. Empty: nothing is
	// written or read.
	Dir string
	// MaxAge is how old a disk snapshot may be to be used. Age counts from when
	// the source last confirmed the list; while it does, the file is renewed. 0: 24 h.
	MaxAge time.Duration
	// Hold is how long a change that looks like an accident of the source is not
	// believed: an empty answer after a list, or one that lost more than
	// MassRemoval. The graceful leave of a service's last instance looks the same
	// and is held, too. 0: 5 min. Negative: all is believed at once, which suits
	// development.
	Hold time.Duration
	// MassRemoval is the part of a list, in (0,1], that may go at once without
	// being held. Up to two endpoints may always go, unless they are the last. 0: 0.5.
	MassRemoval float64
	// Dead reports whether live traffic has proven that an endpoint is gone, for
	// example because it refuses connections. It is asked, every second, for the
	// endpoints that a held answer misses: dead ones leave the list early, and the
	// answer is believed once the rest is no longer suspicious. It must not block.
	// nil: only time decides.
	Dead func(ID) bool
	// Linger is how long the watch of a service outlives its last reader. The list
	// itself stays in memory. 0: 10 min. Negative: it ends at once.
	Linger time.Duration
	// Logger gets the events. nil: none.
	Logger *slog.Logger
}

func (c CacheConfig) withDefaults() (CacheConfig, error) {
	switch {
	case c.MaxAge < 0:
		return c, fmt.Errorf("resolver: CacheConfig.MaxAge %v is negative", c.MaxAge)
	case !(c.MassRemoval >= 0 && c.MassRemoval <= 1):
		return c, fmt.Errorf("resolver: CacheConfig.MassRemoval %v is not in 0..1", c.MassRemoval)
	}
	if c.Name == "" {
		c.Name = "catalog"
	}
	if c.MaxAge == 0 {
		c.MaxAge = 24 * time.Hour
	}
	if c.Hold == 0 {
		c.Hold = 5 * time.Minute
	}
	if c.MassRemoval == 0 {
		c.MassRemoval = 0.5
	}
	if c.Linger == 0 {
		c.Linger = 10 * time.Minute
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// Cache stands in front of one source. It shares one watch per service among all
// readers, keeps the last good list when the source is lost, on disk also for the
// next process, and does not believe answers at once that look like an accident of
// the source. It implements [Catalog].
//
// A service's first snapshot after a restart is the source's own if it answers
// soon; else the list from disk, Stale. The list in memory is kept for as long as
// the source is lost: an old list is better than none.
type Cache struct {
	src  Catalog
	cfg  CacheConfig
	disk *disk // nil: none
	hub  *hub.Hub[*Snapshot]

	mu       sync.Mutex
	services map[string]*cached
}

// cached is one service. It outlives its watch.
type cached struct {
	running sync.Mutex // held by the run of the service; the previous one may still be ending
	keeper  keeper     // guarded by running
	asked   bool       // the disk has been asked; guarded by running

	runs int // runs that use it, guarded by Cache.mu

	mu      sync.Mutex
	last    *Snapshot // the newest published
	watched bool
	loaded  bool
}

// NewCache puts a cache in front of src. It does no I/O yet.
func NewCache(src Catalog, cfg CacheConfig) (*Cache, error) {
	if src == nil {
		return nil, fmt.Errorf("resolver: NewCache needs a Catalog")
	}
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Cache{src: src, cfg: cfg, services: map[string]*cached{}}
	if cfg.Dir != "" {
		c.disk = newDisk(cfg)
	}
	c.hub = hub.New(cfg.Linger, c.run)
	return c, nil
}

// Watch implements [Catalog].
func (c *Cache) Watch(ctx context.Context, service string, deliver func(*Snapshot)) error {
	if err := CheckService(service); err != nil {
		return err
	}
	return c.hub.Watch(ctx, service, deliver)
}

// Close ends all watches and writes what is not on disk yet. It waits within ctx,
// and is idempotent. The source stays open.
func (c *Cache) Close(ctx context.Context) error {
	err := c.hub.CloseWithin(ctx)
	if c.disk != nil {
		err = errors.Join(err, c.disk.close(ctx))
	}
	return err
}

// CacheStatus is what a Cache knows about one service.
type CacheStatus struct {
	// Source is CacheConfig.Name; Service the service.
	Source, Service string
	// Watched says that the source is being watched; else the list waits in memory.
	Watched bool
	// FromDisk says that the list has not been confirmed since it was read from disk.
	FromDisk bool
	// Endpoints counts the list.
	Endpoints int
	// State, AsOf, StaleSince, Reason, Held and Skipped are those of the newest snapshot.
	State      State
	AsOf       time.Time
	StaleSince time.Time
	Reason     error
	Held       *Held
	Skipped    int
	// DiskError is why the newest list is not on disk, or nil.
	DiskError error
}

// Status is the state of all services that were watched, sorted by name.
func (c *Cache) Status() []CacheStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]CacheStatus, 0, len(c.services))
	for name, e := range c.services {
		e.mu.Lock()
		st := CacheStatus{Source: c.cfg.Name, Service: name, Watched: e.watched, FromDisk: e.loaded}
		if s := e.last; s != nil {
			st.Endpoints, st.State, st.AsOf, st.StaleSince = len(s.Endpoints), s.State, s.AsOf, s.StaleSince
			st.Reason, st.Held, st.Skipped = s.Reason, s.Held, s.Skipped
		}
		e.mu.Unlock()
		if c.disk != nil {
			st.DiskError = c.disk.failure(name)
		}
		all = append(all, st)
	}
	slices.SortFunc(all, func(a, b CacheStatus) int { return strings.Compare(a.Service, b.Service) })
	return all
}

// entry is the memory of a service, made when it is first watched. leave ends its use.
func (c *Cache) entry(service string) *cached {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.services[service]
	if e == nil {
		e = &cached{keeper: keeper{
			service: service, hold: max(c.cfg.Hold, 0), fraction: c.cfg.MassRemoval, dead: c.cfg.Dead,
			event: func(name string, args ...any) { c.event(name, service, args...) },
		}}
		c.services[service] = e
	}
	e.runs++
	return e
}

// leave forgets a service that nobody watches and that has no endpoints, so that
// asking for many wrong names leaves nothing behind.
func (c *Cache) leave(service string, e *cached, worth bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.runs--; e.runs == 0 && !worth {
		delete(c.services, service)
	}
}

func (c *Cache) event(name, service string, args ...any) {
	level := slog.LevelInfo
	if slices.Contains([]string{"registry.lost", "registry.stale", "registry.empty_held", "registry.mass_removal_held",
		"registry.snapshot_ignored", "registry.snapshot_failed"}, name) {
		level = slog.LevelWarn
	}
	c.cfg.Logger.Log(context.Background(), level, name, append([]any{"source", c.cfg.Name, "service", service}, args...)...)
}
