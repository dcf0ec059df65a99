package server

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/berth-iot/berth/credential"
)

const (
	authorityValidity = 10 * 365 * 24 * time.Hour
	serverValidity    = 397 * 24 * time.Hour // what TLS clients take at most
	renewBefore       = 30 * 24 * time.Hour
	clockSlack        = time.Hour // certificates begin earlier than now: devices' clocks are late
)

// certificates is the server's own key material in its data folder.
type certificates struct {
	dir       string
	authority *credential.Authority
	server    atomic.Pointer[tls.Certificate] // may be replaced while the server runs
}

// caFile is the authority that clients are made to trust.
func (c *certificates) caFile() string { return filepath.Join(c.dir, "ca.pem") }

// open finds the authority and the server certificate, or makes them. A server
// certificate that does not name all hosts, or is about to expire, is replaced; the
// authority stays.
func (c *certificates) open(dir string, hosts []string, now time.Time) error {
	c.dir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := c.openAuthority(now); err != nil {
		return fmt.Errorf("certificate authority: %w", err)
	}
	return c.openServer(hosts, now)
}

func (c *certificates) openAuthority(now time.Time) error {
	certificatePEM, keyPEM, err := readPair(c.caFile(), filepath.Join(c.dir, "ca.key.pem"))
	if err == nil {
		c.authority, err = credential.ParseAuthority(certificatePEM, keyPEM)
		return err
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if c.authority, err = credential.NewAuthority("Berth "+now.UTC().Format("2006-01-02"), now.Add(-clockSlack), authorityValidity); err != nil {
		return err
	}
	if certificatePEM, keyPEM, err = c.authority.PEM(); err != nil {
		return err
	}
	return writePair(c.caFile(), certificatePEM, filepath.Join(c.dir, "ca.key.pem"), keyPEM)
}

func (c *certificates) openServer(hosts []string, now time.Time) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("server certificate: %w", err)
		}
	}()
	certificateFile, keyFile := filepath.Join(c.dir, "server.pem"), filepath.Join(c.dir, "server.key.pem")
	certificatePEM, keyPEM, err := readPair(certificateFile, keyFile)
	if err == nil {
		if pair, err := tls.X509KeyPair(certificatePEM, keyPEM); err == nil && c.serves(pair, hosts, now) {
			c.server.Store(&pair)
			return nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if certificatePEM, keyPEM, err = c.authority.IssueServer(hosts, now.Add(-clockSlack), serverValidity); err != nil {
		return err
	}
	if err := writePair(certificateFile, certificatePEM, keyFile, keyPEM); err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(certificatePEM, keyPEM)
	c.server.Store(&pair)
	return err
}

// serves reports whether a server certificate is good for all hosts, for a while.
func (c *certificates) serves(pair tls.Certificate, hosts []string, now time.Time) bool {
	roots := x509.NewCertPool()
	roots.AddCert(c.authority.Certificate)
	for _, host := range hosts {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, CurrentTime: now.Add(renewBefore)}); err != nil {
			return false
		}
	}
	return true
}

func readPair(certificateFile, keyFile string) (certificatePEM, keyPEM []byte, err error) {
	if certificatePEM, err = os.ReadFile(certificateFile); err != nil {
		return nil, nil, err
	}
	keyPEM, err = os.ReadFile(keyFile)
	return certificatePEM, keyPEM, err
}

// writePair writes the key first: a certificate whose key is missing would stop
// every later start.
func writePair(certificateFile string, certificatePEM []byte, keyFile string, keyPEM []byte) error {
	if err := writeFile(keyFile, keyPEM, 0o600); err != nil {
		return err
	}
	return writeFile(certificateFile, certificatePEM, 0o644)
}

// writeFile puts a file in place whole or not at all, and durably.
func writeFile(path string, content []byte, mode fs.FileMode) error {
	if present, err := os.ReadFile(path); err == nil && bytes.Equal(present, content) {
		return nil
	}
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // nothing is there after the rename
	_, err = file.Write(content)
	err = errors.Join(err, file.Chmod(mode), file.Sync(), file.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a rename durable, where a system can do that.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrInvalid) && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}
