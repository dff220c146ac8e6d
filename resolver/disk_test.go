package resolver

import (
	"fmt"
	"hash/crc32"
	"slices"
	"testing"
	"time"
)

func FuzzDiskSnapshot(f *testing.F) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	for _, list := range [][]*Endpoint{nil, {
		{ID: ID{"aws", "vm-7", "payments-1"}, Addr: "[2001:db8::1]:9000", Locality: Locality{"aws", "r", "z"}, Weight: 7,
			Health: Warning, Protocol: "grpc", SPIFFEID: "spiffe://td/a", Tags: []string{"v1"}, Metadata: map[string]string{"k": "v"}},
		{ID: ID{"aws", "vm-8", "payments-1"}, Addr: "payments.example:1", Weight: MaxWeight},
	}} {
		data, err := encodeDisk("aws", "payments", list, at)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, false)
		f.Add(data[slices.Index(data, '\n')+1:], true)
	}
	f.Add([]byte(`{"source":"aws","service":"payments","endpoints":[{"addr":"10.0.0.1:1","weight":0}]}`), true)
	f.Add([]byte(`{"source":"aws","service":"payments","endpoints":[null]}`), true)
	f.Add([]byte("weft-snapshot 1 00000000 0\n"), false)
	f.Fuzz(func(t *testing.T, data []byte, seal bool) {
		if seal { // a text with a checksum that is right, so that the fuzzer gets behind it
			data = append(fmt.Appendf(nil, "%s %d %08x %d\n", diskMagic, diskVersion, crc32.Checksum(data, castagnoli), len(data)), data...)
		}
		list, asOf, err := decodeDisk(data, "aws", "payments")
		if err != nil {
			if list != nil || !asOf.IsZero() {
				t.Fatalf("a list with error %v", err)
			}
			return
		}
		for i, e := range list {
			if checkEndpoint(e) != nil || i > 0 && list[i-1].ID.Compare(e.ID) >= 0 {
				t.Fatalf("endpoint %d is not valid or not in order: %+v", i, e)
			}
		}
		again, err := encodeDisk("aws", "payments", list, asOf)
		if err != nil {
			return // a year that JSON cannot write
		}
		list2, asOf2, err := decodeDisk(again, "aws", "payments")
		if err != nil || !asOf2.Equal(asOf) || !slices.EqualFunc(list, list2, (*Endpoint).Equal) {
			t.Fatalf("%+v as of %v is read back as %+v as of %v: %v", list, asOf, list2, asOf2, err)
		}
	})
}
