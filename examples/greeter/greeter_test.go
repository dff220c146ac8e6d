// Package greeter_test runs the greeter's two programs as a user does.
package greeter_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/weft-mesh/weft/internal/consultest/ctest"
)

func TestGreeterWithoutConsul(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"server", "client"} {
		if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, name), "./"+name).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	free := func() string { return fmt.Sprintf("127.0.0.1:%d", ctest.FreePort(t)) }
	grpc, http := free(), free()
	catalog := filepath.Join(dir, "services.yaml")
	text := fmt.Sprintf("services:\n  greeter:\n    - {address: %q, protocol: grpc}\n    - {address: %q, protocol: http}\n", grpc, http)
	if err := os.WriteFile(catalog, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), "WEFT_CATALOG_FILE="+catalog, "WEFT_DEV_DIR="+filepath.Join(dir, "ca"))

	server := exec.CommandContext(t.Context(), filepath.Join(dir, "server"), "-grpc", grpc, "-http", http)
	server.Env = env
	var log strings.Builder
	server.Stdout, server.Stderr = &log, &log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()
	defer func() {
		_ = server.Process.Signal(syscall.SIGTERM)
		if err := <-ended; err != nil {
			t.Errorf("the server ended with %v:\n%s", err, log.String())
		}
	}()
	client := exec.CommandContext(t.Context(), filepath.Join(dir, "client"), "-name", "Ada")
	client.Env = env
	// The client waits for nothing: ask until the server is up.
	var out []byte
	for t.Context().Err() == nil {
		c := *client
		var err error
		if out, err = c.CombinedOutput(); err == nil {
			break
		}
		if !strings.Contains(string(out), "connection refused") {
			t.Fatalf("the client failed: %v\n%s", err, out)
		}
		if len(ended) > 0 {
			t.Fatal("the server is not up any more")
		}
		client = exec.CommandContext(t.Context(), filepath.Join(dir, "client"), "-name", "Ada")
		client.Env = env
	}
	if got, want := string(out), "gRPC: Hello, Ada\nHTTP: Hello, Ada\n"; got != want {
		t.Errorf("the client printed %q, want %q", got, want)
	}
}
