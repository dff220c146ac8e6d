package consul

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"
)

// deadline is when a blocking query must have been answered: Consul adds up to
// a sixteenth.
func deadline(wait time.Duration) time.Duration { return wait + wait/16 + slack }

// answer is a decoded reply.
type answer struct {
	reply
	list *list
}

func (w *watch) query(ctx context.Context, index uint64, mode string) (answer, error) {
	return w.ask(ctx, w.path, w.service, index, mode)
}

// askPlain reads the service's health at once, with proxies as they were registered.
func (w *watch) askPlain(ctx context.Context) (answer, error) {
	return w.read(ctx, w.path, w.service, 0, url.Values{})
}

// ask reads a service's health: at once if index is 0, else when it changes.
func (w *watch) ask(ctx context.Context, path, service string, index uint64, mode string) (answer, error) {
	q := url.Values{"merge-central-config": {""}}
	if mode != "" {
		q.Set(mode, "")
	}
	return w.read(ctx, path, service, index, q)
}

func (w *watch) read(ctx context.Context, path, service string, index uint64, q url.Values) (answer, error) {
	c := w.c
	wait := c.client.slots.wait(c.cfg.Wait)
	within := readWithin
	if index > 0 {
		q.Set("index", strconv.FormatUint(index, 10))
		q.Set("wait", strconv.FormatInt(wait.Milliseconds(), 10)+"ms")
		within = deadline(wait)
	}
	if c.cfg.Peer != "" {
		q.Set("peer", c.cfg.Peer)
	} else if c.cfg.Datacenter != "" {
		q.Set("dc", c.cfg.Datacenter)
	}
	leave, err := c.client.slots.enter(ctx, index > 0)
	if err != nil {
		return answer{}, err
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	m := w.mapping
	m.service = service
	if m.records, _ = w.view.need(); m.records > mergedRecords {
		m.records = mergedRecords // for more see registered
	}
	var a answer
	a.reply, err = c.client.get(ctx, path+url.PathEscape(service), q, func(r io.Reader) (err error) {
		began := time.Now()
		a.list, err = m.decode(r)
		w.pace.spent = time.Since(began)
		return err
	})
	if err != nil && ctx.Err() == context.DeadlineExceeded {
		err = fmt.Errorf("no answer within %v: %w", within, context.DeadlineExceeded)
	}
	return a, err
}
