package balancer

import (
	"math/rand/v2"
	"time"
)

// fail takes the node out and probes until it can be reached again.
func (p *pool) fail(err error) {
	p.mu.Lock()
	start := !p.probing && !p.dead && p.ctx.Err() == nil
	if start {
		p.probing = true
		p.s.t.wg.Go(p.probe) // under the lock: not after abort, and so not after Close began to wait
	}
	p.mu.Unlock()
	if start {
		p.s.lb.SetState(p.node, Failed, err)
	}
}

// probe tries to connect after 100 ms, growing by 1.6 up to 10 s, with jitter of 20 %.
func (p *pool) probe() {
	const first = 100 * time.Millisecond
	wait := first
	for {
		jittered := time.Duration(float64(wait) * (0.8 + 0.4*rand.Float64()))
		t := time.NewTimer(jittered)
		select {
		case <-t.C:
		case <-p.again:
			t.Stop()
			wait = first
		case <-p.ctx.Done():
			t.Stop()
			return
		}
		c, _, err := p.connect(p.ctx, false)
		if err == nil {
			_ = c.Close()
			p.mu.Lock()
			p.probing = false
			p.mu.Unlock()
			p.s.lb.SetState(p.node, Ready, nil)
			return
		}
		if p.ctx.Err() != nil {
			return
		}
		p.s.lb.SetState(p.node, Failed, err)
		wait = min(wait*8/5, 10*time.Second)
	}
}

// retry lets the probe try now, and count its pauses anew.
func (p *pool) retry() {
	select {
	case p.again <- struct{}{}:
	default: // it is asked already
	}
}
