package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/weft-mesh/weft/benchmarks/internal/contest"
)

// spec is a peer, or why there is none.
type spec struct {
	contest.Spec
	err error
}

// built are programs of the module benchmarks/peers, by folder.
func built() []string { return []string{alone, "handmade", "kratos", "gozero", "xds"} }

// alone is no peer: it is bare in a program of its own.
const alone = "alone"

func peerNames() []string { return append(built(), "consul-proxy", "haproxy") }

// specs says how the wanted peers are started, after building what must be built.
func (o *options) specs(ctx context.Context, self string) (list []spec) {
	ctx, cancel := context.WithTimeout(ctx, o.build)
	defer cancel()
	for _, name := range o.peers {
		s := spec{Spec: contest.Spec{Name: name, Exe: self, As: "plain"}}
		switch name {
		case "consul-proxy":
			s.Between = consulProxies
		case "haproxy":
			s.Between = haproxies
		default:
			s.As = name
			s.Exe, s.err = buildPeer(ctx, name)
		}
		list = append(list, s)
	}
	return list
}

// buildPeer builds into the user's cache; the go tool knows what is up to date.
func buildPeer(ctx context.Context, name string) (string, error) {
	dir, err := peersDir()
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	exe := filepath.Join(cache, "weft", "peers", name)
	fmt.Fprintf(os.Stderr, "building the peer %s … ", name)
	out, err := exec.CommandContext(ctx, "go", "build", "-C", dir, "-mod=readonly", "-o", exe, "./"+name).CombinedOutput()
	fmt.Fprint(os.Stderr, "\r\033[K")
	if err != nil {
		text := strings.TrimSpace(string(out))
		return "", fmt.Errorf("go build in %s: %w: %s", dir, errors.Join(err, ctx.Err()), text[:min(len(text), 500)])
	}
	return exe, nil
}

// peersDir is beside this folder.
func peersDir() (string, error) {
	_, file, _, _ := runtime.Caller(0)
	for _, dir := range []string{filepath.Join(filepath.Dir(filepath.Dir(file)), "peers"), "peers"} {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("the module benchmarks/peers is not on this machine; run in a clone of the repository, in its folder benchmarks")
}
