package contest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// envRole is "server" or "client", the contender and the shared folder, by newlines.
const envRole = "WEFT_CONTEST"

// hello is the first line of a worker.
type hello struct {
	Addr, About string
	Streams     bool
	First       time.Duration // from the dial to the first answer
	Error       string        `json:",omitempty"`
}

// task is a line to a worker. A client's first has Addr, the others an Order; a
// server's have neither.
type task struct {
	Addr  string `json:",omitempty"`
	Order *Order `json:",omitempty"`
}

// report is the answer.
type report struct {
	Usage Usage // of a client in the slice, of a server since it began
	Load  Load
}

// Peer is the main of a program that is one contender and nothing else.
func Peer(c Contender) {
	was, err := Worker(c)
	if !was {
		err = errors.New("it is run by ../../overhead")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, c.Name+":", err)
		os.Exit(1)
	}
}

// Worker runs a child process, if this is one, until its parent has ended.
func Worker(contenders ...Contender) (was bool, err error) {
	role := os.Getenv(envRole)
	if role == "" {
		return false, nil
	}
	parts := strings.Split(role, "\n")
	if len(parts) != 3 {
		return true, fmt.Errorf("contest: %s is %q", envRole, role)
	}
	// Standard output is for what stacks have to say.
	out := os.NewFile(3, "answers")
	w := &worker{dir: parts[2], in: json.NewDecoder(bufio.NewReader(os.Stdin)), out: json.NewEncoder(out)}
	for _, c := range contenders {
		if c.Name == parts[1] {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			stop, err := profile(parts[0], c.Name)
			if err != nil {
				return true, err
			}
			work := w.call
			if parts[0] == "server" {
				work = w.serve
			}
			return true, errors.Join(work(ctx, c), stop())
		}
	}
	return true, fmt.Errorf("contest: no contender is named %q", parts[1])
}

type worker struct {
	dir string
	in  *json.Decoder
	out *json.Encoder
}

// refuse tells why there will be nothing.
func (w *worker) refuse(err error) error {
	return errors.Join(err, w.out.Encode(hello{Error: err.Error()}))
}

func (w *worker) serve(ctx context.Context, c Contender) error {
	s, err := c.Serve(ctx, w.dir)
	if err != nil {
		return w.refuse(err)
	}
	if err := w.out.Encode(hello{Addr: s.Addr, About: c.About}); err != nil {
		return err
	}
	for w.in.Decode(&task{}) == nil {
		u, err := ownUsage()
		if err == nil {
			err = w.out.Encode(report{Usage: u})
		}
		if err != nil {
			return err
		}
	}
	return s.Close()
}

func (w *worker) call(ctx context.Context, c Contender) error {
	var where task
	if err := w.in.Decode(&where); err != nil {
		return err
	}
	began := time.Now()
	client, err := c.Dial(ctx, w.dir, where.Addr)
	if err != nil {
		return w.refuse(err)
	}
	if err := answered(ctx, client.Caller()); err != nil {
		return w.refuse(fmt.Errorf("the first call: %w", err))
	}
	if err := w.out.Encode(hello{First: time.Since(began), Streams: client.Stream != nil}); err != nil {
		return err
	}
	for t := (task{}); w.in.Decode(&t) == nil && t.Order != nil; t = (task{}) {
		before, err := ownUsage()
		if err != nil {
			return err
		}
		l, err := run(ctx, client, *t.Order)
		if err != nil {
			l.Error = err.Error()
		}
		after, err := ownUsage()
		if err != nil {
			return err
		}
		if err := w.out.Encode(report{Usage: after.since(before), Load: l}); err != nil {
			return err
		}
	}
	return client.Close()
}

// answered calls until there is an answer: what is between may still be starting.
func answered(ctx context.Context, call Call) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var why error
	for {
		err := call(ctx)
		if err == nil {
			return nil
		}
		if why == nil || ctx.Err() == nil {
			why = err // the end of the time says nothing
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return why
		}
	}
}
