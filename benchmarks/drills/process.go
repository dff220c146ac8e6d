package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// process is an endpoint's process, as its parent sees it.
type process struct {
	role  role
	cmd   *exec.Cmd
	in    io.WriteCloser
	got   func(id int, name string, at time.Time)
	ready chan struct{}
	ended chan struct{}
}

// start runs the process and waits until it is announced.
func (p *process) start(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	text, err := json.Marshal(p.role)
	if err != nil {
		return err
	}
	p.cmd = exec.Command(self)
	p.cmd.Env = append(os.Environ(), roleEnv+"="+string(text))
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	p.ready, p.ended = make(chan struct{}), make(chan struct{})
	go func() {
		p.listen(out)
		_ = p.cmd.Wait() // how it ended, the drill knows
		close(p.ended)
	}()
	select {
	case <-p.ready:
		return nil
	case <-p.ended:
		return fmt.Errorf("the process of %s ended before it was announced", p.role.Name)
	case <-time.After(30 * time.Second):
		return fmt.Errorf("the process of %s is not announced after 30 s", p.role.Name)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *process) listen(out io.Reader) {
	announced := sync.OnceFunc(func() { close(p.ready) })
	for lines := bufio.NewScanner(out); lines.Scan(); {
		f := strings.Fields(lines.Text())
		switch {
		case len(f) == 1 && f[0] == "ready":
			announced()
		case len(f) == 3 && f[0] == "got":
			id, err := strconv.Atoi(f[1])
			ns, err2 := strconv.ParseInt(f[2], 10, 64)
			if err == nil && err2 == nil {
				p.got(id, p.role.Name, time.Unix(0, ns))
			}
		}
	}
}

// order tells the process what to do.
func (p *process) order(line string) error {
	_, err := io.WriteString(p.in, line+"\n")
	return err
}

// stop ends the process in order: it drains.
func (p *process) stop() {
	_ = p.in.Close()
	<-p.ended
}

// kill is the end of the process, without a goodbye to anyone.
func (p *process) kill() {
	if p.cmd != nil && p.cmd.Process != nil {
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}
