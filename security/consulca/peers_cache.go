package consulca

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"

	"github.com/weft-mesh/weft/internal/ownfile"
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
	return ownfile.Write(file, text)
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
	text, err := ownfile.Read(file, 16*maxCache)
	if err != nil {
		return nil, fmt.Errorf("consulca: %w", err)
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
