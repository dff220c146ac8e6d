// Package files takes the identity of a process from PEM files that something else
// keeps fresh: cert-manager, spiffe-helper, Vault agent, a Kubernetes secret.
//
// The files are read again every few seconds, and on Reload. What they hold is used
// only if it fits together: the key belongs to the certificate, the certificate
// is an X.509-SVID, and its chain leads to the bundle. Otherwise the last good
// identity stays in use until it expires, with the event svid.rejected and the
// reason in Status. Half-replaced files are such a case, and heal themselves.
//
// A key file that others than its owner may write is refused. One that others may
// read is used, as Kubernetes mounts secrets like that, with the event
// key.readable. Windows has no such bits to check.
package files

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/weft-mesh/weft/security"
	"github.com/weft-mesh/weft/security/internal/held"
	"github.com/weft-mesh/weft/security/internal/pemid"
)

// DefaultPoll is how often the files are read.
const DefaultPoll = 5 * time.Second

// Config names the files. Cert, Key and Bundle are required.
type Config struct {
	// Cert is the file of the SVID and its intermediates, leaf first. Empty is refused.
	Cert string
	// Key is the file of the leaf's private key, PKCS #8, EC or RSA. Empty is refused.
	Key string
	// Bundle is the file of the CA certificates of the SVID's own trust domain.
	// Empty is refused.
	Bundle string
	// Federated are the bundle files of other trust domains, by their names. Nil
	// trusts no other.
	Federated map[string]string
	// Poll is how often the files are read. 0 is DefaultPoll.
	Poll time.Duration
	// Logger gets the events. Nil discards them.
	Logger *slog.Logger
}

// Source is the identity in the files. It implements security.Source.
type Source struct {
	cfg  Config
	cell held.Cell

	mu     sync.Mutex // one read at a time
	warned bool       // of a readable key

	once sync.Once
	stop chan struct{}
	wg   sync.WaitGroup
}

// New reads the files, and fails if they hold no valid identity; ctx bounds
// nothing else. The caller must Close the source.
func New(ctx context.Context, cfg Config) (*Source, error) {
	for _, f := range []struct{ name, value string }{{"Cert", cfg.Cert}, {"Key", cfg.Key}, {"Bundle", cfg.Bundle}} {
		if f.value == "" {
			return nil, fmt.Errorf("files: Config.%s is empty, want the name of a PEM file", f.name)
		}
	}
	for name, file := range cfg.Federated {
		if td, err := spiffeid.TrustDomainFromString(name); err != nil || td.Name() != name || file == "" {
			return nil, fmt.Errorf("files: Config.Federated[%q] = %q, want the name of a trust domain and a file", name, file)
		}
	}
	if cfg.Poll < 0 {
		return nil, fmt.Errorf("files: Config.Poll is %v, want 0 or more", cfg.Poll)
	}
	if cfg.Poll == 0 {
		cfg.Poll = DefaultPoll
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("files: %w", err)
	}
	s := &Source{cfg: cfg, stop: make(chan struct{})}
	if err := s.Reload(); err != nil {
		return nil, err
	}
	s.wg.Go(s.poll)
	s.wg.Go(func() { s.cell.Guard(s.stop, cfg.Logger) })
	return s, nil
}

// Reload reads the files now. An error means that the last good identity stays.
func (s *Source) Reload() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	svid, bundles, err := s.read()
	news := s.cell.Note(err)
	if err != nil {
		if news {
			s.cfg.Logger.Warn("svid.rejected", "detail", "the files hold no valid identity; the last one stays in use until it expires", "error", err)
		}
		return err
	}
	newSVID, newBundles := s.cell.Set(svid, bundles)
	if newSVID {
		s.cfg.Logger.Info("svid.rotated", "spiffe_id", svid.ID.String(), "not_after", svid.Certificates[0].NotAfter)
	}
	if newBundles {
		s.cfg.Logger.Info("bundle.updated", "trust_domains", s.cell.Status().TrustDomains)
	}
	return nil
}

func (s *Source) read() (*x509svid.SVID, held.Bundles, error) {
	readable, err := keyMode(s.cfg.Key)
	if err != nil {
		return nil, nil, err
	}
	if readable && !s.warned {
		s.warned = true
		s.cfg.Logger.Warn("key.readable", "detail", "others than its owner may read the private key; run chmod 0600 on it", "file", s.cfg.Key)
	}
	chain, err := slurp(s.cfg.Cert)
	if err != nil {
		return nil, nil, err
	}
	key, err := slurp(s.cfg.Key)
	if err != nil {
		return nil, nil, err
	}
	svid, err := pemid.SVID(chain, key)
	if err != nil {
		return nil, nil, fmt.Errorf("files: %s with %s: %w", s.cfg.Cert, s.cfg.Key, err)
	}
	own := svid.ID.TrustDomain()
	bundles := held.Bundles{}
	if bundles[own], err = bundle(own, s.cfg.Bundle); err != nil {
		return nil, nil, err
	}
	for name, file := range s.cfg.Federated {
		td, err := spiffeid.TrustDomainFromString(name)
		if err != nil || td == own {
			return nil, nil, fmt.Errorf("files: Config.Federated names %s, which is the SVID's own trust domain; its bundle is in Config.Bundle", name)
		}
		if bundles[td], err = bundle(td, file); err != nil {
			return nil, nil, err
		}
	}
	if err := held.Verify(svid, bundles[own]); err != nil {
		return nil, nil, fmt.Errorf("files: %s does not verify against %s: %w", s.cfg.Cert, s.cfg.Bundle, err)
	}
	return svid, bundles, nil
}

func bundle(td spiffeid.TrustDomain, file string) (*x509bundle.Bundle, error) {
	data, err := slurp(file)
	if err != nil {
		return nil, err
	}
	certs, err := pemid.Certs(data)
	if err != nil {
		return nil, fmt.Errorf("files: bundle %s: %w", file, err)
	}
	return x509bundle.FromX509Authorities(td, certs), nil
}

// slurp reads a file of bounded size.
func slurp(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("files: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	data, err := io.ReadAll(io.LimitReader(f, pemid.MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("files: %w", err)
	}
	if len(data) > pemid.MaxBytes {
		return nil, fmt.Errorf("files: %s is larger than %d bytes", file, pemid.MaxBytes)
	}
	return data, nil
}

// keyMode refuses a key that others could replace, and tells if they could read it.
func keyMode(file string) (readable bool, err error) {
	info, err := os.Stat(file)
	if err != nil {
		return false, fmt.Errorf("files: %w", err)
	}
	if !info.Mode().IsRegular() {
		return false, fmt.Errorf("files: %s is no regular file", file)
	}
	perm := info.Mode().Perm()
	if runtime.GOOS == "windows" {
		return false, nil
	}
	if perm&0o022 != 0 {
		return false, fmt.Errorf("files: %s has mode %04o: others than its owner could replace the private key; run chmod 0600 on it", file, perm)
	}
	return perm&0o044 != 0, nil
}

func (s *Source) poll() {
	tick := time.NewTicker(s.cfg.Poll)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
			_ = s.Reload() // reported by event and Status
		}
	}
}

// GetX509SVID implements security.Source.
func (s *Source) GetX509SVID() (*x509svid.SVID, error) { return s.cell.GetX509SVID() }

// GetX509BundleForTrustDomain implements security.Source.
func (s *Source) GetX509BundleForTrustDomain(td spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	return s.cell.GetX509BundleForTrustDomain(td)
}

// Changed returns a channel that is closed when the SVID or a bundle next changes.
func (s *Source) Changed() <-chan struct{} { return s.cell.Changed() }

// Status describes the identity. Its Err is why the files were last rejected.
func (s *Source) Status() security.Status { return s.cell.Status() }

// Close ends the reading and waits for it. The last identity stays usable until it
// expires. It is idempotent and always returns nil.
func (s *Source) Close() error {
	s.once.Do(func() { close(s.stop) })
	s.wg.Wait()
	return nil
}
