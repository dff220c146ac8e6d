package testpki

import (
	"testing"

	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

func TestMintedChainsVerify(t *testing.T) {
	t.Parallel()
	root := New(t, "a.example")
	for name, ca := range map[string]*CA{"root": root, "intermediate": root.Intermediate(t), "two": root.Intermediate(t).Intermediate(t)} {
		src := NewSource(ca.SVID(t, "spiffe://a.example/x"), root.Bundle())
		svid, err := src.GetX509SVID()
		if err != nil {
			t.Fatal(err)
		}
		if id, _, err := x509svid.Verify(svid.Certificates, src); err != nil || id.String() != "spiffe://a.example/x" {
			t.Errorf("%s: %v, %v", name, id, err)
		}
		src.SetBundle(root.TrustDomain, New(t, "a.example").Bundle())
		if _, _, err := x509svid.Verify(svid.Certificates, src); err == nil {
			t.Errorf("%s: verified by the bundle of another CA", name)
		}
		src.SetBundle(root.TrustDomain, nil)
		src.SetSVID(nil)
		if _, err := src.GetX509SVID(); err == nil {
			t.Errorf("%s: a removed SVID is still there", name)
		}
	}
	next := New(t, "a.example")
	cross := root.CrossSign(t, next)
	svid := next.SVID(t, "spiffe://a.example/x", func(s *Spec) { s.Chain = append(s.Chain, cross) })
	if _, _, err := x509svid.Verify(svid.Certificates, NewSource(nil, root.Bundle())); err != nil {
		t.Errorf("a cross-signed chain does not verify against the old root: %v", err)
	}
}
