// Package pemid reads identities from PEM, in all forms that issuers write.
package pemid

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// MaxBytes bounds one PEM text.
const MaxBytes = 1 << 20

// SVID reads a chain, leaf first, and the leaf's key: PKCS #8, or the older
// "EC PRIVATE KEY" (Consul's agent) and "RSA PRIVATE KEY". Other blocks in key,
// such as "EC PARAMETERS", are passed over. The pair must match and be an X.509-SVID.
func SVID(chain, key []byte) (*x509svid.SVID, error) {
	certs, err := Certs(chain)
	if err != nil {
		return nil, err
	}
	pkcs8, err := privateKey(key)
	if err != nil {
		return nil, err
	}
	var der []byte
	for _, c := range certs {
		der = append(der, c.Raw...)
	}
	return x509svid.ParseRaw(der, pkcs8)
}

// Certs reads one or more certificates. Blocks of another type are refused, and so is
// text that is no block: it would be half of something.
func Certs(data []byte) ([]*x509.Certificate, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("certificates of %d bytes, the limit is %d", len(data), MaxBytes)
	}
	var out []*x509.Certificate
	for rest := bytes.TrimSpace(data); len(rest) > 0; rest = bytes.TrimSpace(rest) {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, errors.New("not PEM, or cut off in the middle")
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("a PEM block of type %.40q among the certificates", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(out)+1, err)
		}
		out = append(out, cert)
	}
	if len(out) == 0 {
		return nil, errors.New("no certificate in it")
	}
	return out, nil
}

func privateKey(data []byte) ([]byte, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("key of %d bytes, the limit is %d", len(data), MaxBytes)
	}
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, errors.New("no private key in it (want PKCS #8, EC or RSA in PEM, not encrypted)")
		}
		var key any
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			return block.Bytes, nil
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		default:
			continue
		}
		if err != nil {
			return nil, errors.New("the private key cannot be parsed") // the parser's words could hold parts of it
		}
		return x509.MarshalPKCS8PrivateKey(key)
	}
}
