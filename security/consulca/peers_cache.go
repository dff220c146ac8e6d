package consulca

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
)

const (
	maxPeersAge = 72 * time.Hour
	// savePeersEvery is how often peerings that do not change are written again, for their age.
	savePeersEvery = time.Hour
)

// cachedPeers are the peerings as they lie on disk.
type cachedPeers struct {
	Version int         `json:"version"`
	Saved   time.Time   `json:"saved"`
	Peers   []savedPeer `json:"peers"`
}

type savedPeer struct {
	Name  string   `json:"name"`
	Roots []string `json:"roots"`
}

// save keeps what the agent has confirmed just now.
func (p *Peers) save() {
	if p.cfg.CacheFile == "" {
		return
	}
	p.mu.Lock()
	byName, stale := p.byName, p.unsaved || time.Since(p.saved) >= savePeersEvery
	p.mu.Unlock()
	if !stale {
		return
	}
	if err := writePeers(p.cfg.CacheFile, byName); err != nil {
		p.cfg.Logger.Warn("peers.cache_failed", "error", err)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.saved, p.unsaved = time.Now(), false
}

func writePeers(file string, byName map[string]*x509bundle.Bundle) error {
	c := cachedPeers{Version: cacheVersion, Saved: time.Now()}
	for name, b := range byName {
		roots, err := b.Marshal()
		if err != nil {
			return err
		}
		c.Peers = append(c.Peers, savedPeer{name, []string{string(roots)}})
	}
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	// CreateTemp makes the file for its owner only.
	f, err := os.CreateTemp(filepath.Dir(file), ".peers-*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// load takes the peerings of the last run, until the agent says what they are.
func (p *Peers) load() {
	if p.cfg.CacheFile == "" {
		return
	}
	list, err := loadPeers(p.cfg.CacheFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		p.cfg.Logger.Warn("peers.cache_unusable", "error", err)
	default:
		p.take(list)
	}
}

func loadPeers(file string) ([]*api.Peering, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || runtime.GOOS != "windows" && info.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("consulca: %s has mode %v: others could have written whom to trust; remove it", file, info.Mode())
	}
	text, err := io.ReadAll(io.LimitReader(f, 16*maxCache))
	if err != nil {
		return nil, err
	}
	list, err := decodePeers(text, time.Now())
	if err != nil {
		return nil, fmt.Errorf("consulca: %s is not used: %w", file, err)
	}
	return list, nil
}

func decodePeers(text []byte, now time.Time) ([]*api.Peering, error) {
	var c cachedPeers
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, plain(err)
	}
	switch age := now.Sub(c.Saved); {
	case c.Version != cacheVersion:
		return nil, fmt.Errorf("it is of version %d, want %d", c.Version, cacheVersion)
	case age > maxPeersAge:
		return nil, fmt.Errorf("it is %v old, over %v", age.Round(time.Second), maxPeersAge)
	case age < -time.Hour:
		return nil, fmt.Errorf("it is from the future, by %v", -age.Round(time.Second))
	case len(c.Peers) > maxPeers:
		return nil, fmt.Errorf("it has %d peerings, the limit is %d", len(c.Peers), maxPeers)
	}
	list := make([]*api.Peering, len(c.Peers))
	for i, x := range c.Peers {
		list[i] = &api.Peering{Name: x.Name, PeerCAPems: x.Roots}
	}
	return list, nil
}
