package contest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// Spec says how a contender is started.
type Spec struct {
	Name string
	// Exe is a program that calls Worker; As is the contender's name in it.
	Exe, As string
	// Between starts what is between client and server, given the server's address:
	// the client dials addr instead. dir is the folder of both. nil: nothing.
	Between func(ctx context.Context, dir, addr string) (*Between, error)
}

// Between is processes on the way.
type Between struct {
	Addr  string
	About string
	PIDs  []int
	// Vars are where its processes publish their allocations (Expvar). nil: they do not.
	Vars  []string
	Close func()
}

// Pair is a running contender.
type Pair struct {
	Name, About string
	// First is the time from the client's dial to its first answer.
	First   time.Duration
	Streams bool

	dir            string
	server, client *child
	between        *Between
	asking         Usage // what it costs those between to be asked for their usage
}

// Slice is what one order came to.
type Slice struct {
	Load
	RPS            float64
	Mallocs, Bytes float64 // of client and server
	ClientCPU      time.Duration
	CPU            time.Duration // of all processes
	RSS, Private   int64         // of all processes, after it
}

// Start starts both processes and what is between, and makes the first call.
func Start(ctx context.Context, s Spec) (*Pair, error) {
	p := &Pair{Name: s.Name}
	if err := p.start(ctx, s); err != nil {
		p.Close()
		return nil, fmt.Errorf("%s: %w", s.Name, err)
	}
	return p, nil
}

func (p *Pair) start(ctx context.Context, s Spec) (err error) {
	if p.dir, err = os.MkdirTemp("", "weft-contest-"); err != nil {
		return err
	}
	var h hello
	if p.server, err = startChild(ctx, s, "server", p.dir); err != nil {
		return err
	}
	if err = p.server.hear(&h); err != nil {
		return err
	}
	addr := h.Addr
	p.About = h.About
	if s.Between != nil {
		if p.between, err = s.Between(ctx, p.dir, addr); err != nil {
			return err
		}
		addr = p.between.Addr
		p.About = p.between.About
		if err = p.weigh(ctx); err != nil {
			return err
		}
	}
	if p.client, err = startChild(ctx, s, "client", p.dir); err != nil {
		return err
	}
	if err = p.client.out.Encode(task{Addr: addr}); err != nil {
		return err
	}
	if err = p.client.hear(&h); err != nil {
		return err
	}
	p.First, p.Streams = h.First, h.Streams
	return nil
}

// Slice has the client do what is ordered.
func (p *Pair) Slice(ctx context.Context, o Order) (s Slice, err error) {
	if o.Stream && !p.Streams {
		return s, fmt.Errorf("%s has no streams", p.Name)
	}
	var before, after, did report
	err = p.server.ask(task{}, &before)
	waysBefore, err2 := p.ways(ctx)
	if err = errors.Join(err, err2); err != nil {
		return s, err
	}
	if err = p.client.ask(task{Order: &o}, &did); err != nil {
		return s, err
	}
	if did.Load.Error != "" {
		return s, fmt.Errorf("%s: a call failed: %s", p.Name, did.Load.Error)
	}
	err = p.server.ask(task{}, &after)
	ways, err2 := p.ways(ctx)
	if err = errors.Join(err, err2); err != nil {
		return s, err
	}
	served, way := after.Usage.since(before.Usage), ways.since(waysBefore)
	s = Slice{Load: did.Load, RPS: float64(did.Load.Calls) / did.Load.Took.Seconds()}
	sum := did.Usage.plus(served).plus(way)
	s.Mallocs, s.Bytes = float64(sum.Mallocs)-float64(p.asking.Mallocs), float64(sum.Bytes)-float64(p.asking.Bytes)
	s.ClientCPU, s.CPU = did.Usage.CPU, sum.CPU
	s.RSS, s.Private = sum.RSS, sum.Private
	return s, nil
}

// ways is the usage of what is between.
func (p *Pair) ways(ctx context.Context) (sum Usage, err error) {
	if p.between == nil {
		return sum, nil
	}
	for _, pid := range p.between.PIDs {
		u, err := otherUsage(pid)
		if err != nil {
			return sum, err
		}
		sum = sum.plus(u)
	}
	for _, addr := range p.between.Vars {
		mallocs, bytes, err := Expvar(ctx, addr)
		if err != nil {
			return sum, err
		}
		sum.Mallocs, sum.Bytes = sum.Mallocs+mallocs, sum.Bytes+bytes
	}
	return sum, nil
}

// weigh finds what asking costs: the least of a few times, with nothing else to do.
func (p *Pair) weigh(ctx context.Context) error {
	before, err := p.ways(ctx)
	for i := 0; i < 5 && err == nil; i++ {
		var after Usage
		if after, err = p.ways(ctx); err == nil {
			if d := after.since(before); i == 0 || d.Mallocs < p.asking.Mallocs {
				p.asking = d
			}
			before = after
		}
	}
	return err
}

// Close ends all processes of the pair.
func (p *Pair) Close() {
	p.client.close()
	if p.between != nil {
		p.between.Close()
	}
	p.server.close()
	if p.dir != "" {
		_ = os.RemoveAll(p.dir)
	}
}

// child is a process that runs Worker.
type child struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *json.Encoder
	in    *json.Decoder
	pipe  *os.File
}

func startChild(ctx context.Context, s Spec, role, dir string) (*child, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	cmd := exec.CommandContext(ctx, s.Exe)
	cmd.Env = append(os.Environ(), envRole+"="+role+"\n"+s.As+"\n"+dir)
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{w}
	cmd.WaitDelay = time.Second
	c := &child{cmd: cmd, pipe: r, in: json.NewDecoder(bufio.NewReader(r))}
	if c.stdin, err = cmd.StdinPipe(); err == nil {
		c.out = json.NewEncoder(c.stdin)
		err = cmd.Start()
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return c, nil
}

func (c *child) ask(t task, answer *report) error {
	if err := c.out.Encode(t); err != nil {
		return err
	}
	if err := c.in.Decode(answer); err != nil {
		return fmt.Errorf("a process ended: %w", err)
	}
	return nil
}

func (c *child) hear(h *hello) error {
	if err := c.in.Decode(h); err != nil {
		return fmt.Errorf("a process did not start: %w", err)
	}
	if h.Error != "" {
		return errors.New(h.Error)
	}
	return nil
}

// close lets the process end by itself, and ends it if it does not.
func (c *child) close() {
	if c == nil {
		return
	}
	c.stdin.Close()
	late := time.AfterFunc(5*time.Second, func() { _ = c.cmd.Process.Kill() })
	_ = c.cmd.Wait()
	late.Stop()
	c.pipe.Close()
}
