// Walljump runs tests with a wall clock that jumps by an hour, ahead and back, all the
// time: what is measured in time must not follow it. The clock jumps in synctest
// bubbles too.
//
//	go run ./internal/walljump ./resilience ./balancer
//
// It builds the packages with a time.Now of its own. Arguments are those of go test.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "walljump:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	path, src, err := source()
	if err != nil {
		return err
	}
	jumping, err := jumps(src)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	dir, err := os.MkdirTemp("", "walljump-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file, overlay := filepath.Join(dir, "time.go"), filepath.Join(dir, "overlay.json")
	list, err := json.Marshal(map[string]any{"Replace": map[string]string{path: file}})
	if err == nil {
		err = errors.Join(os.WriteFile(file, []byte(jumping), 0o600), os.WriteFile(overlay, list, 0o600))
	}
	if err != nil {
		return err
	}
	test := exec.Command("go", append([]string{"test", "-overlay", overlay}, args...)...)
	test.Stdout, test.Stderr = os.Stdout, os.Stderr
	return test.Run()
}

// source is package time's file with Now, of the Go that go test uses.
func source() (path, src string, err error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", "", fmt.Errorf("go env GOROOT: %w", err)
	}
	path = filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	b, err := os.ReadFile(path)
	return path, string(b), err
}

// Of package time. Bubbles give no monotonic time by themselves.
const (
	reads  = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	jumped = reads + `	if mono == 0 {
		mono = runtimeNano()
	}
	sec += wallJump(mono)
`
	jumper = `
// wallJump is how far off the wall clock is: it jumps every 700 ms.
func wallJump(mono int64) int64 { return [...]int64{0, 3600, -3600}[mono/700e6%3] }
`
)

// jumps is package time's file with a wall clock that jumps.
func jumps(src string) (string, error) {
	if strings.Count(src, reads) != 1 {
		return "", errors.New("time.Now is not as it is known here; read it and change this program")
	}
	return strings.Replace(src, reads, jumped, 1) + jumper, nil
}
