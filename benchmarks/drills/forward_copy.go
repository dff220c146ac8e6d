package main

import (
	"net"
	"time"
)

// parcel is what arrives at a time.
type parcel struct {
	at time.Time
	b  []byte
}

// copy passes on what from sends, in order and late, until one of both ends.
func (f *forwarder) copy(to, from net.Conn) {
	way := make(chan parcel, 1024)
	f.wg.Go(func() {
		defer f.drop(to)
		for p := range way {
			if d := time.Until(p.at); d > 0 {
				time.Sleep(d)
			}
			if _, ok := f.await(); !ok {
				continue
			}
			if _, err := to.Write(p.b); err != nil {
				f.drop(from)
			}
		}
	})
	defer close(way)
	for {
		b := make([]byte, 32<<10)
		n, err := from.Read(b)
		delay, ok := f.await()
		if !ok {
			return
		}
		if n > 0 {
			way <- parcel{time.Now().Add(delay), b[:n]}
		}
		if err != nil {
			f.drop(from)
			return
		}
	}
}
