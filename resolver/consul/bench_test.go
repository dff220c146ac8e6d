package consul

import (
	"strings"
	"testing"
)

// BenchmarkDecode reads a list of 10 000 instances.
func BenchmarkDecode(b *testing.B) {
	body := instances(10000)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if l, err := testMapping.decode(strings.NewReader(body)); err != nil || len(l.instances) != 10000 {
			b.Fatal(err)
		}
	}
}
