package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/weft-mesh/weft/benchmarks/internal/contest"
	"github.com/weft-mesh/weft/benchmarks/internal/identity"
	"github.com/weft-mesh/weft/internal/consultest"
)

// sidecars are processes of one pair.
type sidecars struct {
	procs []*exec.Cmd
	pids  []int
	after []func()
}

// start starts one, and waits until it listens.
func (s *sidecars) start(ctx context.Context, listens string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	log := &tailBuffer{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	s.procs, s.pids = append(s.procs, cmd), append(s.pids, cmd.Process.Pid)
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", listens)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%s does not listen at %s: %w; it says: %s", filepath.Base(name), listens, err, log)
		}
	}
}

func (s *sidecars) close() {
	for i := len(s.procs) - 1; i >= 0; i-- {
		_ = s.procs[i].Process.Kill()
		_ = s.procs[i].Wait()
	}
	for i := len(s.after) - 1; i >= 0; i-- {
		s.after[i]()
	}
}

// freeAddrs are addresses that nobody listens at.
func freeAddrs(n int) (list []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		list = append(list, l.Addr().String())
	}
	return list, nil
}

// consulProxies are two of Consul's own proxies: connections over mutual TLS with
// identities of its CA, authorized by intentions, balanced by connection.
func consulProxies(ctx context.Context, _, addr string) (_ *contest.Between, err error) {
	s := &sidecars{}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	agent, err := consultest.Start(ctx, consultest.Config{Progress: os.Stderr})
	if err != nil {
		return nil, err
	}
	s.after = append(s.after, agent.Stop)
	bin, err := consultest.Binary(ctx, os.Stderr)
	if err != nil {
		return nil, err
	}
	free, err := freeAddrs(4)
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(free[1])
	common := []string{"connect", "proxy", "-http-addr", agent.HTTPAddr(), "-log-level", "warn"}
	err = s.start(ctx, free[0], bin, append(common, "-pprof-addr", free[2], "-service", "echo", "-service-addr", addr, "-listen", free[0], "-register")...)
	if err == nil {
		err = s.start(ctx, free[1], bin, append(common, "-pprof-addr", free[3], "-service", "client", "-upstream", "echo:127.0.0.1:"+port)...)
	}
	if err != nil {
		return nil, err
	}
	about := "grpc-go without TLS, two `consul connect proxy` of Consul " + consultest.Version + ": mutual TLS, intentions, layer 4; memory and CPU without the agent's"
	return &contest.Between{Addr: free[1], About: about, PIDs: s.pids, Vars: free[2:], Close: s.close}, nil
}

// haproxies are two of HAProxy, as HTTP/2 proxies with mutual TLS between them.
func haproxies(ctx context.Context, dir, addr string) (_ *contest.Between, err error) {
	bin := os.Getenv("WEFT_HAPROXY_BIN")
	if bin == "" {
		if bin, err = exec.LookPath("haproxy"); err != nil {
			return nil, errors.New("haproxy is not installed; it is Debian's package haproxy, or name a program in WEFT_HAPROXY_BIN")
		}
	}
	version, err := exec.CommandContext(ctx, bin, "-v").Output()
	if err != nil {
		return nil, fmt.Errorf("%s -v: %w", bin, err)
	}
	first, _, _ := strings.Cut(string(version), "\n")
	free, err := freeAddrs(2)
	if err != nil {
		return nil, err
	}
	s := &sidecars{}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	for _, side := range []struct{ name, listen, bind, to string }{
		{"echo", free[0], "ssl crt %[1]s ca-file %[2]s verify required alpn h2", addr + " proto h2"},
		{"client", free[1], "proto h2", free[0] + " ssl crt %[1]s ca-file %[2]s verify required alpn h2"},
	} {
		id, err := identity.Open(dir, side.name)
		if err != nil {
			return nil, err
		}
		defer id.Close()
		pem, err := id.Write(filepath.Join(dir, "haproxy-"+side.name))
		if err != nil {
			return nil, err
		}
		fill := func(text string) string { return strings.NewReplacer("%[1]s", pem.Both, "%[2]s", pem.CA).Replace(text) }
		text := fmt.Sprintf(haproxyConfig, side.listen, fill(side.bind), fill(side.to))
		file := filepath.Join(dir, "haproxy-"+side.name, "haproxy.cfg")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return nil, err
		}
		if err := s.start(ctx, side.listen, bin, "-db", "-f", file); err != nil {
			return nil, err
		}
	}
	about := "grpc-go without TLS, two of " + first + ": mutual TLS, HTTP/2 on both sides, layer 7; they are written in C, so their allocations are not counted"
	return &contest.Between{Addr: free[1], About: about, PIDs: s.pids, Close: s.close}, nil
}

const haproxyConfig = `global
  ssl-default-bind-options ssl-min-ver TLSv1.3
  ssl-default-server-options ssl-min-ver TLSv1.3
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
frontend in
  bind %s %s
  default_backend out
backend out
  server s %s
`

// tailBuffer keeps the end of what a process says.
type tailBuffer struct{ b []byte }

func (t *tailBuffer) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if n := len(t.b) - 1000; n > 0 {
		t.b = append(t.b[:0], t.b[n:]...)
	}
	return len(p), nil
}

func (t *tailBuffer) String() string { return string(t.b) }
