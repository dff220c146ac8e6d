package mesh

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/hashicorp/consul/api"

	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/chain"
	"github.com/weft-mesh/weft/resolver/consul"
	"github.com/weft-mesh/weft/resolver/static"
	"github.com/weft-mesh/weft/security"
	"github.com/weft-mesh/weft/security/consulca"
	"github.com/weft-mesh/weft/security/devca"
	"github.com/weft-mesh/weft/security/files"
	"github.com/weft-mesh/weft/security/workload"
)

// openCatalog opens what resolve decided on. Only a file is read at once; Consul
// may be down.
func (m *Mesh) openCatalog(ctx context.Context) error {
	m.registrar = m.cfg.Registrar
	var err error
	switch m.cfg.catalog {
	case "given":
		m.catalog = m.cfg.Catalog
	case "file":
		var f *static.File
		if f, err = static.Open(ctx, m.cfg.CatalogFile, static.FileConfig{Name: devca.DefaultCloud, Logger: m.log}); err != nil {
			return err
		}
		m.onLeave(f.Close)
		m.catalog = f
	case "embedded":
		if m.cfg.Embedded == nil {
			if m.cfg.Embedded, err = NewEmbedded(m.log); err != nil {
				return err
			}
		}
		m.catalog = m.cfg.Embedded.Catalog
	default:
		err = m.openClouds(ctx)
	}
	if m.registrar == nil {
		m.registrar, _ = m.catalog.(resolver.Registrar)
	}
	if err == nil {
		err = m.openChains(ctx)
	}
	return err
}

// openChains opens what routes calls; openClouds has opened Consul's.
func (m *Mesh) openChains(ctx context.Context) error {
	switch {
	case m.cfg.NoChains:
		m.chains = nil
	case m.cfg.Chains != nil:
		m.chains = m.cfg.Chains
	case len(m.cfg.Entries) > 0:
		f, err := chain.Open(ctx, chain.FileConfig{Logger: m.log}, m.cfg.Entries...)
		if err != nil {
			return fmt.Errorf("mesh: Config.Entries: %w", err)
		}
		m.onLeave(f.Close)
		m.entriesErr = f.Err
		m.chains = chain.Compiled{Watch: f.Watch, Config: chain.CompileConfig{Datacenter: m.cfg.Locality.Cloud}}
	}
	return nil
}

// openClouds opens one Consul source for each cloud, with a cache of its own, so
// that clouds fail apart.
func (m *Mesh) openClouds(ctx context.Context) error {
	var sources []resolver.Source
	var home *consul.Catalog                  // announces this process
	m.cfg.Clouds = slices.Clone(m.cfg.Clouds) // the names are filled in
	for i, cfg := range m.cfg.Clouds {
		if cfg.Logger == nil {
			cfg.Logger = m.log
		}
		src, err := consul.New(cfg)
		if err != nil {
			return fmt.Errorf("mesh: Config.Clouds[%d]: %w", i, err)
		}
		m.onLeave(src.Close)
		m.cfg.Clouds[i].Name = src.Name()
		own := cfg.Datacenter == "" && cfg.Peer == ""
		if own && (home == nil || src.Name() == m.cfg.Locality.Cloud) {
			home = src
		}
		cache, err := resolver.NewCache(src, resolver.CacheConfig{
			Name:   src.Name(),
			Dir:    m.cfg.SnapshotDir,
			Hold:   m.cfg.QuarantineHold,
			Dead:   m.store.Dead,
			Logger: m.log,
		})
		if err != nil {
			return err
		}
		m.onLeave(cache.Close)
		m.caches = append(m.caches, namedCache{src.Name(), cache})
		sources = append(sources, resolver.Source{Name: src.Name(), Catalog: cache})
	}
	merged, err := resolver.Merge(sources...)
	if err != nil {
		return err
	}
	m.onLeave(merged.Close)
	m.catalog = merged
	if home == nil {
		return nil // a caller of other clouds only; Serve needs Config.Registrar
	}
	if m.registrar == nil {
		m.registrar = home
	}
	if m.cfg.Chains == nil && !m.cfg.NoChains && len(m.cfg.Entries) == 0 {
		chains := home.Chains(m.cfg.SnapshotDir)
		m.onLeave(chains.Close)
		m.chains = chains
	}
	m.learnLocality(ctx, home)
	return nil
}

// learnLocality fills what nobody configured with what the local agent says of
// itself. It is a convenience: without an answer in time the process runs on.
func (m *Mesh) learnLocality(ctx context.Context, home *consul.Catalog) {
	l := &m.cfg.Locality
	if l.Cloud == "" {
		l.Cloud = home.Name()
		m.cfg.settings.set("Locality.Cloud", l.Cloud, FromConsul)
	}
	if l.Region != "" || l.Cloud != home.Name() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, agentTimeout)
	defer cancel()
	agent, err := home.AgentLocality(ctx)
	if err != nil {
		m.log.Warn("mesh.locality_unknown", "source", home.Name(), "error", err)
		return
	}
	l.Region = agent.Region
	m.cfg.settings.set("Locality.Region", l.Region, FromConsul)
	if l.Zone == "" {
		l.Zone = agent.Zone
		m.cfg.settings.set("Locality.Zone", l.Zone, FromConsul)
	}
}

// openIdentity opens the identity and waits for the first one, within ctx.
func (m *Mesh) openIdentity(ctx context.Context) (security.Source, error) {
	switch m.cfg.identity {
	case "given":
		return m.cfg.Identity, nil
	case "spiffe":
		src, err := workload.New(ctx, workload.Config{Logger: m.log})
		if err != nil {
			return nil, err
		}
		m.onLeave(func(context.Context) error { return src.Close() })
		return src, nil
	case "files":
		cfg := m.cfg.Files
		if cfg.Logger == nil {
			cfg.Logger = m.log
		}
		src, err := files.New(ctx, cfg)
		if err != nil {
			return nil, err
		}
		m.onLeave(func(context.Context) error { return src.Close() })
		return src, nil
	case "consul":
		return m.openConsulCA(ctx)
	default:
		return m.openDevCA()
	}
}

// home is the cloud whose agent announces this process and issues its identity; -1 if
// there is none.
func (m *Mesh) home() int {
	for i, cfg := range m.cfg.Clouds {
		if cfg.Datacenter != "" || cfg.Peer != "" {
			continue
		}
		if m.cfg.Locality.Cloud != "" && cfg.Name != "" && cfg.Name != m.cfg.Locality.Cloud && len(m.cfg.Clouds) > 1 {
			continue
		}
		return i
	}
	return -1
}

// openConsulCA takes the identity from the agent that announces this process.
func (m *Mesh) openConsulCA(ctx context.Context) (security.Source, error) {
	home := m.home()
	if home < 0 {
		return nil, errors.New("mesh: no cloud in Config.Clouds has an agent of this process's own cloud to issue an identity; set Locality.Cloud to the name of one that is given by Address, or bring an identity (SPIFFE_ENDPOINT_SOCKET, Config.Identity)")
	}
	client, release, err := m.cfg.Clouds[home].APIClient()
	if err != nil {
		return nil, err
	}
	m.onLeave(func(context.Context) error { release(); return nil })
	cloud := m.cfg.Clouds[home]
	ca := consulca.Config{
		Client: client, Service: m.cfg.Service, CacheDir: m.cfg.SnapshotDir, Logger: m.log,
		Token: cloud.Token, TokenFile: cloud.TokenFile, Namespace: cloud.Namespace, Partition: cloud.Partition,
	}
	if cloud.Address == "" { // the agent of the environment, and so is this of it
		ca.GRPCAddr = os.Getenv(api.GRPCAddrEnvName)
	}
	if ca.Token == "" && ca.TokenFile == "" {
		ca.Token, ca.TokenFile = os.Getenv(api.HTTPTokenEnvName), os.Getenv(api.HTTPTokenFileEnvName)
	}
	src, err := consulca.New(ctx, ca)
	if err != nil {
		return nil, err
	}
	m.onLeave(func(context.Context) error { return src.Close() })
	return src, nil
}

func (m *Mesh) openDevCA() (security.Source, error) {
	ca := (*devca.CA)(nil)
	if m.cfg.Embedded != nil {
		ca = m.cfg.Embedded.CA
	} else {
		var err error
		if ca, err = devca.New(devca.Config{Dir: m.cfg.DevDir, Logger: m.log}); err != nil {
			return nil, err
		}
	}
	id, err := ca.ID(m.cfg.Locality.Cloud, m.cfg.Service)
	if err != nil {
		return nil, err
	}
	src, err := ca.Source(id)
	if err != nil {
		return nil, err
	}
	m.onLeave(func(context.Context) error { return src.Close() })
	return src, nil
}
