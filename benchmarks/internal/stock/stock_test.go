package stock

import (
	"os"
	"path/filepath"
	"testing"
)

// A call is answered over mutual TLS, and both ends can be closed.
func TestEcho(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := Serve()(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Dial()(t.Context(), dir, s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Caller()(t.Context()); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// Without an identity there is neither.
func TestNoIdentity(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Serve()(t.Context(), file); err == nil {
		t.Error("a server without an identity")
	}
	if _, err := Dial()(t.Context(), file, "127.0.0.1:1"); err == nil {
		t.Error("a client without an identity")
	}
}
