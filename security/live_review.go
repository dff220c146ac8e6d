package security

import "fmt"

// Review closes the open connections of servers whose callers allowed refuses, and
// returns how many there were. It is for rights that change while connections are
// open, beside LiveConfig.Authorize, which is asked at each look. nil refuses nobody.
func (l *Live) Review(allowed Authorizer) (closed int) {
	if allowed == nil {
		return 0
	}
	for _, c := range l.snapshot() {
		if !c.server {
			continue
		}
		if denied := allowed(c.peer); denied != nil {
			l.cut(c, c.denied(denied))
			closed++
		}
	}
	return closed
}

// snapshot is the connections that are open now.
func (l *Live) snapshot() []*liveConn {
	l.mu.Lock()
	defer l.mu.Unlock()
	conns := make([]*liveConn, 0, len(l.conns))
	for c := range l.conns {
		conns = append(conns, c)
	}
	return conns
}

// denied is why the connection of a caller is closed that may not call any more.
func (c *liveConn) denied(err error) *HandshakeError {
	return &HandshakeError{Side: ServerSide, Expected: "an authorized client", Got: c.peer.String(), Err: fmt.Errorf("%w: %w", ErrDenied, err)}
}

// cut closes a connection; whoever reads from it hears of it.
func (l *Live) cut(c *liveConn, why *HandshakeError) {
	_ = c.Close()
	if l.cfg.Closed != nil && why != nil {
		l.cfg.Closed(why)
	}
}
