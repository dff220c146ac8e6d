package resolver_test

import (
	"errors"
	"testing"
)

var errBroken = errors.New("the source is broken")

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
