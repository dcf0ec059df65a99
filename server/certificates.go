package server

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/berth-iot/berth/credential"
)

const (
	authorityValidity    = 10 * 365 * 24 * time.Hour
	authorityRenewBefore = 2 * 365 * 24 * time.Hour // clients have this long to get the new file
	serverValidity       = 397 * 24 * time.Hour     // what TLS clients take at most
	serverRenewBefore    = 30 * 24 * time.Hour      // a moment in which the disk is full passes before the end
	clockSlack           = time.Hour                // certificates begin earlier than now: devices' clocks are late
)

// certificates is the server's own key material in its data folder. Handshakes use
// what is there at their moment.
type certificates struct {
	dir       string
	logger    *slog.Logger
	earliest  func() time.Time // see clock.Clock; what the clock says when nil
	authority atomic.Pointer[credential.Authority]
	server    atomic.Pointer[tls.Certificate]

	write func(path string, content []byte, mode fs.FileMode) error // writeFile, but for tests of a full disk
}

// caFile is the authority that clients are made to trust.
func (c *certificates) caFile() string { return filepath.Join(c.dir, "ca.pem") }

// open finds the authority and the server certificate, or makes them, and renews
// what is due. A disk that is full does not keep a server from starting with what it
// has.
func (c *certificates) open(dir string, logger *slog.Logger, hosts []string, now time.Time) error {
	c.dir, c.logger = dir, logger
	if c.write == nil {
		c.write = writeFile
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := c.openAuthority(now); err != nil {
		return fmt.Errorf("certificate authority: %w", err)
	}
	if err := c.openServer(); err != nil {
		return fmt.Errorf("server certificate: %w", err)
	}
	err := c.renew(hosts, now)
	if err != nil && c.reasonToIssue(c.server.Load(), hosts, now, 0) == "" {
		logger.Error("certificates can't be renewed yet", "error", err)
		return nil
	}
	return err
}

func (c *certificates) openAuthority(now time.Time) error {
	certificatePEM, keyPEM, err := readPair(c.caFile(), c.authorityKeyFile())
	if err == nil {
		authority, err := credential.ParseAuthority(certificatePEM, keyPEM)
		c.authority.Store(authority)
		return err
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	name := "Berth " + now.UTC().Format("2006-01-02")
	notBefore, validity := c.validity(now, authorityValidity)
	authority, err := credential.NewAuthority(name, notBefore, validity)
	if err != nil {
		return err
	}
	c.authority.Store(authority)
	return c.writeAuthority(authority)
}

func (c *certificates) authorityKeyFile() string { return filepath.Join(c.dir, "ca.key.pem") }

func (c *certificates) writeAuthority(authority *credential.Authority) error {
	certificatePEM, keyPEM, err := authority.PEM()
	if err != nil {
		return err
	}
	return c.writePair(c.caFile(), certificatePEM, c.authorityKeyFile(), keyPEM)
}

func (c *certificates) serverFiles() (certificate, key string) {
	return filepath.Join(c.dir, "server.pem"), filepath.Join(c.dir, "server.key.pem")
}

// openServer finds the server certificate, if there is one that can be used.
func (c *certificates) openServer() error {
	certificatePEM, keyPEM, err := readPair(c.serverFiles())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	// A crash may leave two that don't belong together.
	if pair, err := tls.X509KeyPair(certificatePEM, keyPEM); err == nil {
		c.server.Store(&pair)
	}
	return nil
}

// renew makes anew what is about to expire, or is not yet valid as the clock is now,
// and a server certificate that does not name all hosts. New handshakes use it at
// once. What can't be written is not used, unless what there is has become useless.
func (c *certificates) renew(hosts []string, now time.Time) error {
	return errors.Join(c.renewAuthority(now), c.renewServer(hosts, now))
}

// renewAuthority gives the authority a certificate with its old name and key: clients
// that trust the former one go on, until that expires.
func (c *certificates) renewAuthority(now time.Time) error {
	present := c.authority.Load()
	reason := renewalReason(present.Certificate, now, authorityRenewBefore)
	if reason == "" {
		return nil
	}
	former := present.Certificate
	// It stays valid from when it was, so that a clock that is ahead does no harm.
	notBefore, _ := c.validity(now, authorityValidity)
	begin := earlier(former.NotBefore, notBefore)
	authority, err := present.Renew(present, begin, now.Add(authorityValidity))
	if err == nil {
		err = c.writeAuthority(authority)
	}
	if err != nil {
		return fmt.Errorf("renew the certificate authority: %w", err)
	}
	c.authority.Store(authority)
	c.logger.Warn("the certificate authority was renewed: give its file to clients before the one they have expires",
		"file", c.caFile(), "reason", reason,
		"formerNotAfter", former.NotAfter.UTC(), "notAfter", authority.Certificate.NotAfter.UTC())
	return nil
}

func (c *certificates) renewServer(hosts []string, now time.Time) error {
	present := c.server.Load()
	reason := c.reasonToIssue(present, hosts, now, serverRenewBefore)
	if reason == "" {
		return nil
	}
	notBefore, validity := c.validity(now, serverValidity)
	certificatePEM, keyPEM, err := c.authority.Load().IssueServer(hosts, notBefore, validity)
	if err != nil {
		return fmt.Errorf("renew the server certificate: %w", err)
	}
	pair, err := tls.X509KeyPair(certificatePEM, keyPEM)
	if err != nil {
		return fmt.Errorf("renew the server certificate: %w", err)
	}
	certificateFile, keyFile := c.serverFiles()
	if err := c.writePair(certificateFile, certificatePEM, keyFile, keyPEM); err != nil {
		if present != nil && c.reasonToIssue(present, hosts, now, 0) != "" {
			c.server.Store(&pair) // better one that a restart forgets than one that nobody takes
		}
		return fmt.Errorf("renew the server certificate: %w", err)
	}
	c.server.Store(&pair)
	c.logger.Info("the server certificate was issued", "reason", reason, "notAfter", pair.Leaf.NotAfter.UTC())
	return nil
}

// validity is from when on, and for how long, a certificate is good that is made now.
func (c *certificates) validity(now time.Time, validity time.Duration) (notBefore time.Time, lasts time.Duration) {
	from := now
	if c.earliest != nil {
		from = earlier(now, c.earliest())
	}
	return from.Add(-clockSlack), now.Sub(from) + validity
}

// reasonToIssue says why there must be another server certificate, "" when the one
// there is will be good for all hosts for some time.
func (c *certificates) reasonToIssue(
	present *tls.Certificate, hosts []string, now time.Time, ahead time.Duration,
) string {
	if present == nil {
		return "there was none"
	}
	if reason := renewalReason(present.Leaf, now, ahead); reason != "" {
		return reason
	}
	if present.Leaf.CheckSignatureFrom(c.authority.Load().Certificate) != nil {
		return "another authority signed it"
	}
	for _, host := range hosts {
		if present.Leaf.VerifyHostname(host) != nil {
			return "it does not name " + host
		}
	}
	return ""
}

// renewalReason says why a certificate must be renewed, "" when it is valid now and for some
// time.
func renewalReason(certificate *x509.Certificate, now time.Time, ahead time.Duration) string {
	switch {
	case now.Before(certificate.NotBefore):
		return "it is not valid yet: it was made when the clock was ahead, or the clock is behind"
	case now.After(certificate.NotAfter):
		return "it has expired"
	case now.Add(ahead).After(certificate.NotAfter):
		return "it expires soon"
	}
	return ""
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
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
func (c *certificates) writePair(certificateFile string, certificatePEM []byte, keyFile string, keyPEM []byte) error {
	if err := c.write(keyFile, keyPEM, 0o600); err != nil {
		return err
	}
	return c.write(certificateFile, certificatePEM, 0o644)
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
	err = dir.Sync()
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, fs.ErrInvalid) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return err
}
