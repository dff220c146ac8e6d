package drill

import (
	"slices"
	"sync"
	"time"
)

// Attempt is one attempt that left the caller, or one that a server began to work on.
type Attempt struct {
	// At is when, since the beginning of the drill.
	At time.Duration
	// Host is the endpoint's name, by its address as the caller sees it.
	Host string
}

// Request is a line of a Ledger.
type Request struct {
	// ID names the request to servers; from 1.
	ID int
	// Kind is what was called; drills name their own.
	Kind string
	// Safe means that it may be done twice.
	Safe bool
	// Due is when it was to begin, Deadline when its caller's time was over, End when
	// it ended, since the beginning of the drill. A request that never ended has End 0.
	Due, Deadline, End time.Duration
	// Err is why it failed; nil: it did not.
	Err error
	// Sent are the attempts that left the caller, Got those that reached a handler.
	Sent, Got []Attempt

	ledger *Ledger
}

// OK reports whether the request succeeded.
func (r *Request) OK() bool { return r.Err == nil && r.End > 0 }

// Took is how long the request took, from when it was due.
func (r *Request) Took() time.Duration { return r.End - r.Due }

// Send notes an attempt.
func (r *Request) Send(host string) {
	l := r.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	r.Sent = append(r.Sent, Attempt{time.Since(l.begin), host})
}

// Ledger has a line for each request.
type Ledger struct {
	begin time.Time

	mu       sync.Mutex
	requests []*Request
	strays   []Attempt
}

// NewLedger makes an empty ledger; times count from now.
func NewLedger() *Ledger { return &Ledger{begin: time.Now()} }

// Now is the time since the beginning.
func (l *Ledger) Now() time.Duration { return time.Since(l.begin) }

// Begin is the beginning.
func (l *Ledger) Begin() time.Time { return l.begin }

// Add makes the next line.
func (l *Ledger) Add(kind string, safe bool, due, deadline time.Duration) *Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &Request{ID: len(l.requests) + 1, Kind: kind, Safe: safe, Due: due, Deadline: deadline, ledger: l}
	l.requests = append(l.requests, r)
	return r
}

// Got notes that a server began to work on the request id.
func (l *Ledger) Got(id int, host string) { l.GotAt(id, host, time.Now()) }

// GotAt is Got at a time that another process has noted.
func (l *Ledger) GotAt(id int, host string, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := Attempt{at.Sub(l.begin), host}
	if id < 1 || id > len(l.requests) {
		l.strays = append(l.strays, a)
		return
	}
	r := l.requests[id-1]
	r.Got = append(r.Got, a)
}

// Strays are the receipts of requests that the ledger does not know.
func (l *Ledger) Strays() []Attempt {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.strays)
}

// Requests are copies of the lines that keep accepts, in the order of their making.
// nil accepts all.
func (l *Ledger) Requests(keep func(*Request) bool) []Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Request
	for _, r := range l.requests {
		if keep == nil || keep(r) {
			c := *r
			c.Sent, c.Got = slices.Clone(r.Sent), slices.Clone(r.Got)
			out = append(out, c)
		}
	}
	return out
}

// Due keeps the requests that were due from from to to.
func Due(from, to time.Duration) func(*Request) bool {
	return func(r *Request) bool { return r.Due >= from && r.Due < to }
}

// Finish ends a request that was not made by Open.
func (r *Request) Finish(err error) { r.ledger.end(r, err) }

// end notes what became of r.
func (l *Ledger) end(r *Request, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.End, r.Err = max(time.Since(l.begin), 1), err
}
