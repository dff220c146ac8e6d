package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/mesh"
	"github.com/weft-mesh/weft/resolver"
	"github.com/weft-mesh/weft/resolver/consul"
)

// roleEnv tells a process of the drills what to be.
const roleEnv = "WEFT_DRILLS_ROLE"

// role is an endpoint of a service.
type role struct {
	Service, Name, Cloud, Consul, Advertise, Listen string
}

const idKey = "drill-id"

// serve is the process of an endpoint. It says on its output what it has got, and
// takes orders on its input, until that ends.
func serve(ctx context.Context, text string) error {
	var r role
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return fmt.Errorf("%s: %w", roleEnv, err)
	}
	source, err := consul.New(consul.Config{Name: r.Cloud, Address: r.Consul})
	if err != nil {
		return err
	}
	w := &worker{out: bufio.NewWriter(os.Stdout)}
	m, err := mesh.Join(ctx, mesh.Config{
		Service:      r.Service,
		InstanceID:   r.Service + "-" + r.Name,
		Locality:     resolver.Locality{Cloud: r.Cloud},
		Clouds:       []consul.Config{{Name: r.Cloud, Address: r.Consul}},
		Registrar:    told{source, w},
		SnapshotDir:  "off",
		Advertise:    r.Advertise,
		Propagation:  time.Second,
		DrainTimeout: 5 * time.Second,
	})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", r.Listen)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		w.obey(os.Stdin)
		cancel()
	}()
	srv := m.NewGRPCServer()
	grpc_testing.RegisterTestServiceServer(srv, w)
	err = m.Serve(ctx, srv, l)
	return errors.Join(err, m.Leave(context.Background()), source.Close(context.Background()))
}

// told says when the endpoint is announced.
type told struct {
	resolver.Registrar
	w *worker
}

func (t told) Register(ctx context.Context, in resolver.Instance) (func(context.Context) error, error) {
	f, err := t.Registrar.Register(ctx, in)
	if err == nil {
		t.w.say("ready")
	}
	return f, err
}

// worker does the calls.
type worker struct {
	grpc_testing.UnimplementedTestServiceServer
	fail atomic.Uint64 // float64 bits; not 0: all calls fail at once

	mu  sync.Mutex
	out *bufio.Writer
}

func (w *worker) say(line string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, _ = w.out.WriteString(line + "\n")
	_ = w.out.Flush() // nobody listens any more: the input ends too
}

func (w *worker) obey(in io.Reader) {
	for lines := bufio.NewScanner(in); lines.Scan(); {
		word, value, _ := strings.Cut(lines.Text(), " ")
		if v, err := strconv.ParseFloat(value, 64); err == nil && word == "fail" {
			w.fail.Store(math.Float64bits(v))
		}
	}
}

// workTime is how long a call takes.
const workTime = 5 * time.Millisecond

func (w *worker) work(ctx context.Context) error {
	if v := metadata.ValueFromIncomingContext(ctx, idKey); len(v) > 0 {
		w.say(fmt.Sprintf("got %s %d", v[0], time.Now().UnixNano()))
	}
	if w.fail.Load() != 0 {
		return status.Error(codes.Unavailable, "the drill says so")
	}
	t := time.NewTimer(workTime)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

func (w *worker) UnaryCall(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	return &grpc_testing.SimpleResponse{}, w.work(ctx)
}

func (w *worker) EmptyCall(ctx context.Context, _ *grpc_testing.Empty) (*grpc_testing.Empty, error) {
	return &grpc_testing.Empty{}, w.work(ctx)
}

func (w *worker) FullDuplexCall(s grpc.BidiStreamingServer[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse]) error {
	if err := s.Send(&grpc_testing.StreamingOutputCallResponse{}); err != nil {
		return err
	}
	<-s.Context().Done()
	return s.Context().Err()
}

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
