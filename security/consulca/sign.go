package consulca

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	mrand "math/rand/v2"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/consul/proto-public/pbconnectca"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/security"
	"github.com/weft-mesh/weft/security/internal/pemid"
	"github.com/weft-mesh/weft/security/internal/wall"
)

const (
	// signWithin bounds one request for a certificate.
	signWithin = 15 * time.Second
	// rootSpread is the time within which the leaves of all processes are renewed when
	// the CA was changed. The old ones stay good while it lasts.
	rootSpread = 10 * time.Second
)

// signer gets a certificate when it knows for which trust domain, renews it at 60
// to 90 % of its life, and soon after the CA was changed.
func (s *Source) signer(ctx context.Context, news <-chan signing) {
	var of signing
	var at time.Time // by the wall clock, as the certificate is; zero: when due
	due := time.NewTimer(time.Hour)
	due.Stop()
	defer due.Stop()
	failures := 0
	for {
		select {
		case <-ctx.Done():
			return
		case next := <-news:
			switch {
			case of.domain != next.domain: // the first, or another cluster's: at once
				due.Reset(0)
			case of.root != next.root:
				due.Reset(mrand.N(rootSpread))
			}
			of, at = next, time.Time{}
			continue
		case <-due.C:
		}
		if left := wall.Until(at); left > 0 {
			due.Reset(left)
			continue
		}
		svid, err := s.renew(ctx, of)
		if ctx.Err() != nil {
			return
		}
		s.outcome("leaf", err)
		if err == nil {
			err = s.take(svid, nil)
			s.outcome("fit", err)
		}
		if err != nil {
			at = time.Time{}
			due.Reset(backoff(failures, s.cfg.MaxBackoff))
			failures++
			continue
		}
		failures = 0
		at = renewal(svid.Certificates[0])
		due.Reset(wall.Until(at))
	}
}

// renewal is a random moment between 60 and 90 % of a certificate's life.
func renewal(c *x509.Certificate) time.Time {
	life := c.NotAfter.Sub(c.NotBefore)
	return c.NotBefore.Add(life*6/10 + mrand.N(life*3/10+1))
}

// renew makes a key that never leaves the process, and has a certificate for it made.
func (s *Source) renew(ctx context.Context, of signing) (*x509svid.SVID, error) {
	dc, err := s.home(ctx)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	id, err := security.ServiceID{TrustDomain: of.domain.Name(), Partition: s.cfg.Partition, Namespace: s.cfg.Namespace, Datacenter: dc, Service: s.cfg.Service}.ID()
	if err != nil {
		return nil, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{URIs: []*url.URL{id.URL()}}, key)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, signWithin)
	defer cancel()
	if ctx, err = s.authorized(ctx); err != nil {
		return nil, err
	}
	answer, err := pbconnectca.NewConnectCAServiceClient(s.conn).Sign(ctx, &pbconnectca.SignRequest{
		Csr: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})),
	}, grpc.MaxCallRecvMsgSize(maxAnswer))
	if err != nil {
		if own := toldDatacenter(err); own != "" && s.cfg.Datacenter == "" {
			s.dc = own
			return nil, fmt.Errorf("the datacenter is %q, as Consul says now", own)
		}
		return nil, fmt.Errorf("have Consul sign a certificate (the token needs service:write): %w", plain(err))
	}
	certs, err := pemid.Certs([]byte(answer.GetCertPem()))
	if err != nil {
		return nil, fmt.Errorf("the signed certificate: %w", plain(err))
	}
	var chain []byte
	for _, c := range certs {
		chain = append(chain, c.Raw...)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	svid, err := x509svid.ParseRaw(chain, pkcs8) // the key must be ours
	if err != nil {
		return nil, fmt.Errorf("the signed certificate is no SVID of our key: %w", plain(err))
	}
	if svid.ID != id {
		return nil, fmt.Errorf("the signed certificate is for %.200q, not for %s", svid.ID, id)
	}
	return svid, nil
}

// home is the datacenter that signs. Without Config.Datacenter the agent says it, or,
// to a token that may not ask, the refusal of a certificate for another one does.
// Only signer calls it.
func (s *Source) home(ctx context.Context) (string, error) {
	if s.cfg.Datacenter != "" {
		return s.cfg.Datacenter, nil
	}
	if s.dc != "" {
		return s.dc, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	// Not Self, which has no context.
	var self struct{ Config struct{ Datacenter string } }
	if _, err := s.cfg.Client.Raw().Query("/v1/agent/self", &self, (&api.QueryOptions{}).WithContext(ctx)); err == nil && self.Config.Datacenter != "" {
		s.dc = self.Config.Datacenter
		return s.dc, nil
	}
	return "unknown", nil
}

// toldDatacenter reads it from "SPIFFE ID in CSR from a different datacenter: x, we are y".
func toldDatacenter(err error) string {
	st, ok := status.FromError(err)
	if !ok || st.Code() != codes.InvalidArgument || !strings.Contains(st.Message(), "different datacenter") {
		return ""
	}
	_, own, ok := strings.Cut(st.Message(), ", we are ")
	if own = strings.TrimSpace(own); !ok || spiffeid.ValidatePathSegment(own) != nil {
		return ""
	}
	return own
}
