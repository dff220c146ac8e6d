package mesh

import (
	"context"
	"crypto/tls"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"time"
)

type ageKey struct{}

// boundAge gives each connection of a server an end.
func (m *Mesh) boundAge(srv *http.Server) {
	age := m.connectionAge()
	if age == 0 {
		return
	}
	before := srv.ConnContext
	srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if before != nil {
			ctx = before(ctx, c)
		}
		jitter := time.Duration((rand.Float64()*0.2 - 0.1) * float64(age))
		return context.WithValue(ctx, ageKey{}, time.Now().Add(age+jitter))
	}
}

// ageing ends connections that are past their end, in order: net/http answers what
// is under way and then closes, over HTTP/2 by GOAWAY.
type ageing struct{ next http.Handler }

func (a ageing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if end, ok := r.Context().Value(ageKey{}).(time.Time); ok && time.Now().After(end) {
		w.Header().Set("Connection", "close")
	}
	a.next.ServeHTTP(w, r)
}

// httpTLS is the server's configuration, offering the protocols that it speaks.
func httpTLS(srv *http.Server) *tls.Config {
	cfg := srv.TLSConfig.Clone()
	if p := srv.Protocols; p != nil {
		cfg.NextProtos = slices.DeleteFunc(slices.Clone(cfg.NextProtos), func(name string) bool {
			return name == "h2" && !p.HTTP2() || name == "http/1.1" && !p.HTTP1()
		})
	}
	return cfg
}
