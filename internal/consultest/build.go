package consultest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Version is the Consul version that the rig builds and runs.
const Version = "1.21.0"

// EnvBinary names the environment variable that points to a Consul binary to
// use instead of building one.
const EnvBinary = "WEFT_CONSUL_BIN"

const (
	mainModule = "github.com/weft-mesh/weft"
	toolDir    = "internal/consultest/consulbin"
	// progressEvery is how often a running build reports that it is alive.
	progressEvery = 10 * time.Second
)

// Binary returns the path of a Consul binary: the one that WEFT_CONSUL_BIN
// names, or the cached one, which is built first if there is none. A build
// needs the go tool and takes minutes; it reports to progress (nil: silent).
// Processes that ask at the same time wait for one build.
func Binary(ctx context.Context, progress io.Writer) (string, error) {
	if progress == nil {
		progress = io.Discard
	}
	if bin := os.Getenv(EnvBinary); bin != "" {
		if _, err := os.Stat(bin); err != nil {
			return "", fmt.Errorf("consultest: %s: %w", EnvBinary, err)
		}
		return bin, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("consultest: no place to keep the Consul binary: %w; set %s to one", err, EnvBinary)
	}
	bin := filepath.Join(cache, "weft", "consul-"+Version)
	if runtime.GOOS == "windows" {
		bin += ".exe"
	}
	if executable(bin) {
		return bin, nil
	}
	if err := os.MkdirAll(filepath.Dir(bin), 0o755); err != nil {
		return "", fmt.Errorf("consultest: %w", err)
	}
	unlock, err := lockFile(ctx, bin+".lock", progress)
	if err != nil {
		return "", err
	}
	defer unlock()
	if executable(bin) { // built while we waited
		return bin, nil
	}
	return bin, build(ctx, bin, progress)
}

func executable(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular() && fi.Size() > 0
}

// build compiles Consul beside bin and renames it, so that a half-written
// binary never carries the final name.
func build(ctx context.Context, bin string, progress io.Writer) error {
	goTool, err := exec.LookPath("go")
	if err != nil {
		return fmt.Errorf("consultest: building Consul %s needs the go tool: %w; install Go or set %s to a Consul binary", Version, err, EnvBinary)
	}
	dir, err := moduleDir(ctx, goTool)
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(bin), "build-")
	if err != nil {
		return fmt.Errorf("consultest: %w", err)
	}
	defer os.RemoveAll(tmp)
	out := filepath.Join(tmp, filepath.Base(bin))

	start := time.Now()
	fmt.Fprintf(progress, "consultest: building Consul %s (once, 3 to 6 minutes) into %s\n", Version, bin)
	stop := report(progress, start)
	defer stop()
	var log bytes.Buffer
	cmd := exec.CommandContext(ctx, goTool, "build", "-buildvcs=false", "-mod=readonly", "-o", out, "github.com/hashicorp/consul")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("consultest: building Consul %s in %s: %w\n%s", Version, dir, errors.Join(err, ctx.Err()), tail(log.Bytes(), 4096))
	}
	if v, err := exec.CommandContext(ctx, out, "version").Output(); err != nil || !bytes.Contains(v, []byte("v"+Version)) {
		return fmt.Errorf("consultest: the built Consul does not say that it is %s: %q, %v", Version, tail(v, 200), err)
	}
	if err := os.Rename(out, bin); err != nil {
		return fmt.Errorf("consultest: %w", err)
	}
	stop()
	fmt.Fprintf(progress, "consultest: built Consul %s in %.0fs\n", Version, time.Since(start).Seconds())
	return nil
}

// report prints the elapsed time now and then until stop is called.
func report(w io.Writer, start time.Time) (stop func()) {
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		t := time.NewTicker(progressEvery)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				fmt.Fprintf(w, "consultest: building Consul %s … %.0fs\n", Version, time.Since(start).Seconds())
			case <-quit:
				return
			}
		}
	}()
	stopped := false
	return func() {
		if !stopped {
			stopped = true
			close(quit)
			<-ended
		}
	}
}

// moduleDir finds the nested tool module: beside this file, or, when paths were
// trimmed from the binary, in the main module as the go tool sees it.
func moduleDir(ctx context.Context, goTool string) (string, error) {
	if _, file, _, ok := runtime.Caller(0); ok {
		dir := filepath.Join(filepath.Dir(file), "consulbin")
		if executable(filepath.Join(dir, "go.mod")) {
			return dir, nil
		}
	}
	root, err := exec.CommandContext(ctx, goTool, "list", "-m", "-f", "{{.Dir}}", mainModule).Output()
	dir := filepath.Join(strings.TrimSpace(string(root)), filepath.FromSlash(toolDir))
	if err != nil || !executable(filepath.Join(dir, "go.mod")) {
		return "", fmt.Errorf("consultest: the module that builds Consul (%s of %s) is not on this machine; run inside a clone of the repository or set %s to a Consul %s binary", toolDir, mainModule, EnvBinary, Version)
	}
	return dir, nil
}

// tail is the last n bytes of b as text.
func tail(b []byte, n int) string {
	if len(b) > n {
		b = b[len(b)-n:]
	}
	return string(b)
}
