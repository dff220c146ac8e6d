package fleet

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// Members of one door come from one address, those of two from two.
func TestDoors(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprint(w, host)
	}))
	defer srv.Close()
	d, err := NewDoors(srv.Listener.Addr().String(), perDoor+1)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	from := func(member int) string {
		resp, err := client.Get("http://" + d.Addr(member))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if a, b, c := from(0), from(perDoor-1), from(perDoor); a != b || a == c {
		t.Errorf("from %s, %s and %s", a, b, c)
	}
	if err := d.Close(); err != nil { // with connections open
		t.Error(err)
	}
}
