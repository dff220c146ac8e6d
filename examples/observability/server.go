package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// server is a Prometheus process.
type server struct {
	cmd  *exec.Cmd
	url  string
	dir  string
	done chan error

	targets int
}

// startServer runs bin with a configuration of its own, in a folder of its own.
func startServer(ctx context.Context, bin string, targets map[string]string) (s *server, err error) {
	s = &server{done: make(chan error, 1)}
	if s.dir, err = os.MkdirTemp("", "weft-observability-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	alerts, err := filepath.Abs("alerts.yml")
	if err != nil {
		return s, err
	}
	config := fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%q]\nscrape_configs:\n- job_name: weft\n  static_configs:\n", alerts)
	for service, addr := range targets {
		config += fmt.Sprintf("  - {targets: [%q], labels: {service: %q}}\n", addr, service)
	}
	file := filepath.Join(s.dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return s, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // a port that is free
	if err != nil {
		return s, err
	}
	addr := l.Addr().String()
	_ = l.Close()
	s.url = "http://" + addr
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		return s, err
	}
	defer log.Close()
	s.targets = len(targets)
	s.cmd = exec.Command(bin, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(s.dir, "data"), "--web.listen-address="+addr)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		return s, err
	}
	go func() { s.done <- s.cmd.Wait() }()
	return s, s.ready(ctx)
}

// ready waits until the server has read all targets; it finds them after 5 s.
func (s *server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		why := s.scraped(ctx)
		if why == nil {
			tick.Stop()
			return nil
		}
		select {
		case <-tick.C:
		case err := <-s.done:
			s.done <- err
			log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			return fmt.Errorf("prometheus ended: %w\n%s", err, log)
		case <-ctx.Done():
			return fmt.Errorf("prometheus is not ready: %w", why)
		}
	}
}

// stop ends the process and removes its folder.
func (s *server) stop() {
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-s.done:
		case <-time.After(10 * time.Second):
			_ = s.cmd.Process.Kill()
			<-s.done
		}
	}
	_ = os.RemoveAll(s.dir)
}

func (s *server) get(ctx context.Context, path string, q url.Values) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path+"?"+q.Encode(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, resp.Status, b)
	}
	return b, err
}

// scraped reports which targets have not been scraped, and why.
func (s *server) scraped(ctx context.Context) error {
	b, err := s.get(ctx, "/api/v1/targets", nil)
	if err != nil {
		return err
	}
	var answer struct {
		Data struct {
			ActiveTargets []struct{ ScrapeURL, Health, LastError string }
		}
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		return err
	}
	var errs []error
	if n := len(answer.Data.ActiveTargets); n != s.targets {
		errs = append(errs, fmt.Errorf("prometheus knows %d of %d targets", n, s.targets))
	}
	for _, t := range answer.Data.ActiveTargets {
		if t.Health != "up" {
			errs = append(errs, fmt.Errorf("prometheus cannot read %s: %s %s", t.ScrapeURL, t.Health, t.LastError))
		}
	}
	return errors.Join(errs...)
}

// names are those of all series that the server has.
func (s *server) names(ctx context.Context) (map[string]bool, error) {
	b, err := s.get(ctx, "/api/v1/label/__name__/values", nil)
	if err != nil {
		return nil, err
	}
	var answer struct{ Data []string }
	if err := json.Unmarshal(b, &answer); err != nil {
		return nil, err
	}
	have := map[string]bool{}
	for _, name := range answer.Data {
		have[name] = true
	}
	return have, nil
}

// answers asks all queries, and that no alert of a mesh without trouble fires.
func (s *server) answers(ctx context.Context, queries []query) error {
	var errs []error
	empty := 0
	for _, q := range queries {
		b, err := s.get(ctx, "/api/v1/query", url.Values{"query": {strings.ReplaceAll(q.expr, "$__rate_interval", "5s")}})
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", q.where, err))
			continue
		}
		var answer struct {
			Data struct{ Result []json.RawMessage }
		}
		if err := json.Unmarshal(b, &answer); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", q.where, err))
		}
		alert := strings.HasPrefix(q.where, "alerts.yml")
		switch n := len(answer.Data.Result); {
		case alert && n > 0:
			errs = append(errs, fmt.Errorf("%s fires: %s", q.where, answer.Data.Result[0]))
		case !alert && n == 0:
			empty++
		}
	}
	fmt.Printf("prometheus answered all queries; %d panels show nothing, for want of trouble\n", empty)
	return errors.Join(errs...)
}
