package devca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

const (
	fileName = "weft-devca.pem"
	maxFile  = 64 << 10
)

// shared loads the CA from dir, or creates it there. Certificate and key are one file
// that appears at once, so that of several processes starting together one wins
// and the others load its file.
func shared(dir string, td spiffeid.TrustDomain) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("devca: create the shared directory: %w", err)
	}
	if err := private(dir, fs.ModeDir, 0o700); err != nil {
		return nil, nil, err
	}
	path := filepath.Join(dir, fileName)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if err := create0600(path, td); err != nil {
			return nil, nil, err
		}
	}
	return load(path, td)
}

func create0600(path string, td spiffeid.TrustDomain) error {
	root, key, err := newRoot(td)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("devca: encode the key: %w", err)
	}
	var buf bytes.Buffer
	err = errors.Join(
		pem.Encode(&buf, &pem.Block{Type: "CERTIFICATE", Bytes: root.Raw}),
		pem.Encode(&buf, &pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if err != nil {
		return fmt.Errorf("devca: encode the CA: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), fileName+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("devca: create the CA file: %w", err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // nothing depends on its removal
	_, err = tmp.Write(buf.Bytes())
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("devca: write the CA file: %w", err)
	}
	// Unlike a rename, a link does not replace what another process put there.
	if err := os.Link(tmp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("devca: publish the CA file: %w", err)
	}
	return nil
}

func load(path string, td spiffeid.TrustDomain) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	if err := private(path, 0, 0o600); err != nil {
		return nil, nil, err
	}
	if info, err := os.Stat(path); err == nil && info.Size() > maxFile {
		return nil, nil, fmt.Errorf("devca: %s has %d bytes, that is no CA file of ours; remove it", path, info.Size())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("devca: read the CA file: %w", err)
	}
	root, key, err := parse(data)
	if err != nil {
		return nil, nil, fmt.Errorf("devca: %s: %w; remove it to get a new CA", path, err)
	}
	if len(root.URIs) != 1 || root.URIs[0].String() != td.IDString() {
		return nil, nil, fmt.Errorf("devca: the CA in %s is of another trust domain than %s; use another Dir", path, td.Name())
	}
	if time.Now().After(root.NotAfter) {
		return nil, nil, fmt.Errorf("devca: the CA in %s expired on %s; remove it to get a new one", path, root.NotAfter.Format(time.DateOnly))
	}
	return root, key, nil
}

// parse reads a CERTIFICATE block and the PRIVATE KEY block that belongs to it.
func parse(data []byte) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	certBlock, rest := pem.Decode(data)
	keyBlock, _ := pem.Decode(rest)
	if certBlock == nil || keyBlock == nil || certBlock.Type != "CERTIFICATE" || keyBlock.Type != "PRIVATE KEY" {
		return nil, nil, errors.New("want a CERTIFICATE and a PRIVATE KEY block")
	}
	root, err := x509.ParseCertificate(certBlock.Bytes)
	if err != nil {
		return nil, nil, errors.New("the certificate cannot be parsed")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(keyBlock.Bytes)
	key, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok || !key.PublicKey.Equal(root.PublicKey) || !root.IsCA {
		return nil, nil, errors.New("the key is not that of the CA certificate")
	}
	return root, key, nil
}

// private refuses what somebody else could read or replace. Windows has no such
// bits; there the directory's access list is the user's affair.
func private(path string, kind fs.FileMode, want fs.FileMode) error {
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("devca: %w", err)
	}
	if info.Mode().Type() != kind {
		return fmt.Errorf("devca: %s is a %s, want none of symbolic links and special files", path, info.Mode().Type())
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("devca: %s has mode %04o: others could take the CA's key; run chmod %04o on it", path, info.Mode().Perm(), want)
	}
	return nil
}
