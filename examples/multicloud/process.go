package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/weft-mesh/weft/examples/internal/demo"
	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/consul"
)

// cloudProcess is the process that runs a cloud's services.
type cloudProcess struct {
	cloud, consul string
	cmd           *exec.Cmd
}

// roleEnv tells a process of the example which cloud's services to run, and the
// address of that cloud's Consul agent: CLOUD=ADDRESS.
const roleEnv = "WEFT_MULTICLOUD_ROLE"

// ready is what the process prints when all its services are announced.
const ready = "ready"

func (p *cloudProcess) start(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), roleEnv+"="+p.cloud+"="+p.consul)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if _, err := cmd.StdinPipe(); err != nil { // its end tells the process that we are gone
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	p.cmd = cmd
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(out).ReadString('\n')
		line <- text
	}()
	select {
	case text := <-line:
		if text != ready+"\n" {
			p.kill()
			return errors.New("the services did not start; their process said why above")
		}
		return nil
	case <-time.After(30 * time.Second):
		p.kill()
		return errors.New("the services did not start within 30 s")
	}
}

// kill is the end of a machine: no goodbye to anyone.
func (p *cloudProcess) kill() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		p.cmd = nil
	}
}

const instances = 2

// serve runs a cloud's services: two of each, announced in the cloud's Consul.
func serve(ctx context.Context, role string) error {
	cloud, agent, _ := strings.Cut(role, "=")
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // nobody is left to serve for when the parent has ended
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	announced := &countdown{left: len(demo.Services) * instances, zero: func() { fmt.Println(ready) }}
	var wg sync.WaitGroup
	errs := make(chan error, announced.left)
	for _, service := range demo.Services {
		for i := range instances {
			source, err := consul.New(consul.Config{Name: cloud, Address: agent})
			if err != nil {
				return err
			}
			m, err := mesh.Join(ctx, mesh.Config{
				Service:     service,
				InstanceID:  fmt.Sprintf("%s-%d", service, i),
				Locality:    resolver.Locality{Cloud: cloud},
				Clouds:      []consul.Config{{Name: cloud, Address: agent}},
				Registrar:   counted{source, announced},
				SnapshotDir: "off", // the processes of this example live for a minute
			})
			if err != nil {
				return err
			}
			srv, err := demo.Server(m, service, cloud)
			if err != nil {
				return err
			}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			wg.Go(func() {
				errs <- m.Serve(ctx, srv, l)
				cancel()
				_ = m.Leave(context.Background())
				_ = source.Close(context.Background())
			})
		}
	}
	wg.Wait()
	close(errs)
	var all []error
	for err := range errs {
		all = append(all, err)
	}
	return errors.Join(all...)
}

// counted tells when an announcement is through.
type counted struct {
	resolver.Registrar
	down *countdown
}

func (c counted) Register(ctx context.Context, in resolver.Instance) (func(context.Context) error, error) {
	f, err := c.Registrar.Register(ctx, in)
	if err == nil {
		c.down.done()
	}
	return f, err
}

type countdown struct {
	mu   sync.Mutex
	left int
	zero func()
}

func (c *countdown) done() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left--; c.left == 0 {
		c.zero()
	}
}
