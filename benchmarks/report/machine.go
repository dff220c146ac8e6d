package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/consultest"
)

// machine is where and of what results are.
type machine struct {
	CPU      string            `json:"cpu"`
	Cores    int               `json:"cores"`
	MemoryGB float64           `json:"memory_gb"`
	System   string            `json:"system"`
	Load     string            `json:"load"` // of the last minute, before the first benchmark
	Date     string            `json:"date"`
	Commit   string            `json:"commit"`
	GOGC     string            `json:"gogc"`
	Versions map[string]string `json:"versions"`
}

func thisMachine(ctx context.Context, dir string) (machine, error) {
	m := machine{
		CPU: "unknown processor", Cores: runtime.NumCPU(), System: runtime.GOOS + "/" + runtime.GOARCH, Load: "unknown",
		Date: time.Now().UTC().Format(time.DateOnly), GOGC: "100",
		Versions: map[string]string{"go": strings.TrimPrefix(runtime.Version(), "go"), "consul": consultest.Version},
	}
	if v := os.Getenv("GOGC"); v != "" {
		m.GOGC = v
	}
	// What a system does not tell stays unknown.
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		m.CPU = field(string(b), "model name", m.CPU)
	}
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		kb, _ := strconv.ParseFloat(strings.TrimSuffix(field(string(b), "MemTotal", "0"), " kB"), 64)
		m.MemoryGB = kb / (1 << 20)
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.System += ", kernel " + strings.TrimSpace(string(b))
	}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.Load, _, _ = strings.Cut(string(b), " ")
	}
	m.Commit = commit(ctx, dir)
	for _, module := range []string{dir, filepath.Join(dir, "peers")} {
		if err := versions(ctx, module, m.Versions); err != nil {
			return m, err
		}
	}
	return m, nil
}

// field is the value of a line "name: value".
func field(text, name, or string) string {
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return or
}

func commit(ctx context.Context, dir string) string {
	git := func(args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...).Output()
		return strings.TrimSpace(string(out)), err
	}
	c, err := git("rev-parse", "--short=12", "HEAD")
	if err != nil {
		return "unknown"
	}
	// The report's own files are those that it is about to write.
	if changed, err := git("status", "--porcelain", "--", ":/", ":!/benchmarks/RESULTS.md", ":!/benchmarks/results.json", ":!/benchmarks/plots", ":!/README.md"); err != nil || changed != "" {
		c += " with changes"
	}
	return c
}

// versions notes those of the direct dependencies that are compared or used.
func versions(ctx context.Context, dir string, into map[string]string) error {
	cmd := exec.CommandContext(ctx, "go", "mod", "edit", "-json")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("go mod edit in %s: %w", dir, err)
	}
	var mod struct {
		Require []struct {
			Path, Version string
			Indirect      bool
		}
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		return err
	}
	for _, r := range mod.Require {
		if !r.Indirect && !strings.HasPrefix(r.Path, "github.com/weft-mesh/") {
			into[r.Path] = r.Version
		}
	}
	return nil
}
