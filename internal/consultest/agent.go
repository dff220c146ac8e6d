package consultest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/hashicorp/consul/api"
)

// startTries bounds how often other ports are tried when someone took ours.
const startTries = 5

// Agent is a running Consul agent. Its methods may be called concurrently.
type Agent struct {
	// Datacenter is the datacenter's name.
	Datacenter string

	bin, dir string
	cfg      Config
	ports    ports
	client   *api.Client

	mu      sync.Mutex // serializes Kill, Restart, Stop
	proc    *os.Process
	exited  chan struct{} // closed when proc has been reaped
	stopped bool
}

// Start runs an agent and waits until it has a leader and can issue leaf
// certificates. The caller must call Stop.
func Start(ctx context.Context, cfg Config) (*Agent, error) {
	for try := 1; ; try++ {
		p, err := freePorts()
		if err != nil {
			return nil, err
		}
		a, err := launch(ctx, cfg.withDefaults(), p)
		if err != nil {
			return nil, err
		}
		if err = a.waitReady(ctx); err == nil {
			return a, nil
		}
		taken := a.portTaken()
		a.Stop()
		if !taken || try == startTries {
			return nil, err
		}
	}
}

// launch starts the process of a new agent on ports p, which go back if it fails.
func launch(ctx context.Context, cfg Config, p ports) (_ *Agent, err error) {
	defer func() {
		if err != nil {
			pool.give(p.all()...)
		}
	}()
	bin, err := Binary(ctx, cfg.Progress)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "consultest-")
	if err != nil {
		return nil, fmt.Errorf("consultest: %w", err)
	}
	a := &Agent{Datacenter: cfg.Datacenter, bin: bin, dir: dir, cfg: cfg, ports: p}
	a.client, err = newClient(a.HTTPAddr(), cfg.ACL)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "agent.hcl"), []byte(cfg.render(p)), 0o600)
	}
	if err == nil {
		err = a.spawn()
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("consultest: %w", err)
	}
	return a, nil
}

// newClient keeps no idle connections, so that a test's leak check sees none.
func newClient(addr string, acl bool) (*api.Client, error) {
	cfg := &api.Config{Address: addr, Scheme: "http", Transport: &http.Transport{DisableKeepAlives: true}}
	if acl {
		cfg.Token = Token
	}
	return api.NewClient(cfg)
}

// spawn starts the process.
func (a *Agent) spawn() (err error) {
	args := []string{"agent", "-config-file", filepath.Join(a.dir, "agent.hcl")}
	switch {
	case a.cfg.Join != nil:
		args = append(args, "-data-dir", filepath.Join(a.dir, "data"))
	case a.cfg.Persist:
		args = append(args, "-data-dir", filepath.Join(a.dir, "data"), "-bootstrap")
	default:
		args = append(args, "-dev")
	}
	a.proc, a.exited, err = run(a.bin, a.logFile(), args...)
	return err
}

// run starts a process of Consul. The starting thread waits for it: the kernel sends
// the parent-death signal when that thread, not the process, ends. exited is closed
// when it has been reaped.
func run(bin, logFile string, args ...string) (proc *os.Process, exited chan struct{}, err error) {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.Command(bin, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = procAttr()
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "CONSUL_") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	started := make(chan error, 1)
	exited = make(chan struct{})
	go func() {
		defer close(exited)
		defer log.Close()
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // a killed process always exits with an error
		}
	}()
	if err := <-started; err != nil {
		<-exited
		return nil, nil, err
	}
	return cmd.Process, exited, nil
}

// HTTPAddr is "127.0.0.1:port" of the HTTP API.
func (a *Agent) HTTPAddr() string { return fmt.Sprintf("127.0.0.1:%d", a.ports.http) }

// GRPCAddr is "127.0.0.1:port" of the plaintext gRPC API.
func (a *Agent) GRPCAddr() string { return fmt.Sprintf("127.0.0.1:%d", a.ports.grpc) }

// Client is an API client with the management token, if there are ACLs.
func (a *Agent) Client() *api.Client { return a.client }

// Token is the management token, or empty without ACLs.
func (a *Agent) Token() string {
	if a.cfg.ACL {
		return Token
	}
	return ""
}

// Kill ends the process at once, as a crash would, and waits until it is gone.
// It keeps ports and data for Restart.
func (a *Agent) Kill() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.killLocked()
}

func (a *Agent) killLocked() {
	_ = a.proc.Kill() // fails only if it has already exited
	<-a.exited
}

// Freeze stops the process without closing its connections; Thaw lets it go on.
func (a *Agent) Freeze() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return freeze(a.proc)
}

// Thaw undoes Freeze.
func (a *Agent) Thaw() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return thaw(a.proc)
}

// Restart kills the process if it runs, starts it again on the same ports and
// waits until it is ready. Without Persist it comes back empty.
func (a *Agent) Restart(ctx context.Context) error {
	a.mu.Lock()
	err := errors.New("consultest: Restart after Stop")
	if !a.stopped {
		a.killLocked()
		err = a.spawn()
	}
	a.mu.Unlock()
	if err != nil {
		return err
	}
	return a.waitReady(ctx)
}

// Stop kills the process and removes its data. It is idempotent.
func (a *Agent) Stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped {
		return
	}
	a.stopped = true
	a.killLocked()
	os.RemoveAll(a.dir)
	pool.give(a.ports.all()...)
}

// Logs is the end of the agent's log, at most 16 KiB; empty after Stop.
func (a *Agent) Logs() string {
	b, err := os.ReadFile(a.logFile())
	if err != nil {
		return ""
	}
	return tail(b, 16<<10)
}

func (a *Agent) logFile() string { return filepath.Join(a.dir, "agent.log") }

// portTaken reports whether the agent ended because someone had its port.
func (a *Agent) portTaken() bool { return strings.Contains(a.Logs(), "address already in use") }
