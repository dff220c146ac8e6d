package consultest

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// Sidecar is a running `consul connect proxy`, the proxy that is built into Consul.
type Sidecar struct {
	logFile string
	proc    *os.Process
	exited  chan struct{}
	once    sync.Once
}

// Sidecar starts the built-in proxy at this agent with further arguments, such as
// "-sidecar-for", "web-1" or "-service", "web", "-upstream", "db:9001". It does not
// wait until the proxy listens. The caller must Stop it, before the agent.
func (a *Agent) Sidecar(args ...string) (*Sidecar, error) {
	f, err := os.CreateTemp(a.dir, "sidecar-*.log")
	if err != nil {
		return nil, fmt.Errorf("consultest: %w", err)
	}
	_ = f.Close() // nothing was written
	s := &Sidecar{logFile: f.Name()}
	all := []string{"connect", "proxy", "-http-addr", a.HTTPAddr(), "-log-level", "debug"}
	if a.cfg.ACL {
		token := filepath.Join(a.dir, "token")
		if err := os.WriteFile(token, []byte(Token), 0o600); err != nil {
			return nil, fmt.Errorf("consultest: %w", err)
		}
		all = append(all, "-token-file", token)
	}
	if s.proc, s.exited, err = run(a.bin, s.logFile, append(all, args...)...); err != nil {
		return nil, fmt.Errorf("consultest: %w", err)
	}
	return s, nil
}

// Logs is the end of the proxy's log, at most 16 KiB; empty after the agent's Stop.
func (s *Sidecar) Logs() string {
	b, err := os.ReadFile(s.logFile)
	if err != nil {
		return ""
	}
	return tail(b, 16<<10)
}

// Stop kills the proxy. It is idempotent.
func (s *Sidecar) Stop() {
	s.once.Do(func() {
		_ = s.proc.Kill() // fails only if it has already exited
		<-s.exited
	})
}
