package backend

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"
)

// UnreachableError says that a service did not answer, and why.
type UnreachableError struct {
	Address string // host, or host:port where it is known
	err     error
}

// unreachable is the error of a request to a host.
func unreachable(host string, err error) error {
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Addr != nil {
		host = dial.Addr.String()
	}
	return &UnreachableError{host, err}
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("cannot reach the server at %s: %s", e.Address, Reason(e.err))
}

// Unwrap returns what the connection said.
func (e *UnreachableError) Unwrap() error { return e.err }

// Reason is why a connection failed, in words for people and without those of Go's
// libraries.
func Reason(err error) string {
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		if words := reasonOf(inner); words != "" {
			return words
		}
	}
	var call syscall.Errno
	if errors.As(err, &call) {
		return call.Error() // the system's own words, such as connection refused
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err.Error()
}

// reasonOf are the words for an error of TLS, of a certificate or of a name.
func reasonOf(err error) string {
	switch err := err.(type) {
	case *net.DNSError:
		if err.IsNotFound {
			return fmt.Sprintf("there is no host %q", err.Name)
		}
		return fmt.Sprintf("the name %q can't be looked up now", err.Name)
	case x509.UnknownAuthorityError:
		return "its certificate is signed by an authority that is not trusted here"
	case x509.HostnameError:
		names := err.Certificate.DNSNames
		for _, address := range err.Certificate.IPAddresses {
			names = append(slices.Clip(names), address.String())
		}
		return fmt.Sprintf("its certificate is for %s, not for %s", cmp.Or(strings.Join(names, ", "), "nothing"),
			err.Host)
	case x509.CertificateInvalidError:
		if err.Reason == x509.Expired {
			from, to := err.Cert.NotBefore.UTC(), err.Cert.NotAfter.UTC()
			return fmt.Sprintf("its certificate is valid from %s to %s", from.Format(time.RFC3339),
				to.Format(time.RFC3339))
		}
		return "its certificate is not valid"
	case tls.RecordHeaderError:
		return "what answers there does not speak TLS"
	case tls.AlertError:
		return "it has refused the TLS connection: " + strings.TrimPrefix(err.Error(), "tls: ")
	case interface{ Timeout() bool }:
		if err.Timeout() {
			return "there was no answer in time"
		}
	}
	switch {
	case err.Error() == "http: server gave HTTP response to HTTPS client":
		return "what answers there does not speak TLS"
	case err == context.DeadlineExceeded:
		return "there was no answer in time"
	case err == context.Canceled:
		return "the request was interrupted"
	case err == io.EOF, err == io.ErrUnexpectedEOF:
		return "the connection ended early"
	}
	return ""
}
