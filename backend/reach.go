package backend

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/berth-iot/berth/fault"
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

func (e *UnreachableError) Error() string { return e.Text().String() }

// Text is what the error says, to be translated.
func (e *UnreachableError) Text() fault.Text {
	return fault.Say("cannot reach the server at %s: %s", e.Address, reason(e.err))
}

// Unwrap returns what the connection said.
func (e *UnreachableError) Unwrap() error { return e.err }

// Reason is why a connection failed, in words for people and without those of Go's
// libraries.
func Reason(err error) string { return reason(err).String() }

func reason(err error) fault.Text {
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		if words := reasonOf(inner); !words.IsZero() {
			return words
		}
	}
	var call syscall.Errno
	if errors.As(err, &call) {
		return reasonOfSystem(call)
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return fault.Say("%s", err.Error())
}

// reasonOfSystem are the system's own words. The usual ones are known, to be translated.
func reasonOfSystem(call syscall.Errno) fault.Text {
	switch call {
	case syscall.ECONNREFUSED:
		return fault.Say("connection refused")
	case syscall.ECONNRESET:
		return fault.Say("connection reset by peer")
	case syscall.EHOSTUNREACH:
		return fault.Say("no route to host")
	case syscall.ENETUNREACH:
		return fault.Say("network is unreachable")
	}
	return fault.Say("%s", call.Error())
}

// reasonOf are the words for an error of TLS, of a certificate or of a name.
func reasonOf(err error) fault.Text {
	switch err := err.(type) {
	case *net.DNSError:
		if err.IsNotFound {
			return fault.Say("there is no host %q", err.Name)
		}
		return fault.Say("the name %q can't be looked up now", err.Name)
	case x509.UnknownAuthorityError:
		return fault.Say("its certificate is signed by an authority that is not trusted here")
	case x509.HostnameError:
		names := err.Certificate.DNSNames
		for _, address := range err.Certificate.IPAddresses {
			names = append(slices.Clip(names), address.String())
		}
		is := fault.Say("%s", strings.Join(names, ", "))
		if len(names) == 0 {
			is = fault.Say("nothing")
		}
		return fault.Say("its certificate is for %s, not for %s", is, err.Host)
	case x509.CertificateInvalidError:
		if err.Reason == x509.Expired {
			from, to := err.Cert.NotBefore.UTC(), err.Cert.NotAfter.UTC()
			return fault.Say("its certificate is valid from %s to %s", from.Format(time.RFC3339),
				to.Format(time.RFC3339))
		}
		return fault.Say("its certificate is not valid")
	case tls.RecordHeaderError:
		return fault.Say("what answers there does not speak TLS")
	case tls.AlertError:
		return fault.Say("it has refused the TLS connection: %s", strings.TrimPrefix(err.Error(), "tls: "))
	case interface{ Timeout() bool }:
		if err.Timeout() {
			return fault.Say("there was no answer in time")
		}
	}
	switch {
	case err.Error() == "http: server gave HTTP response to HTTPS client":
		return fault.Say("what answers there does not speak TLS")
	case err == context.DeadlineExceeded:
		return fault.Say("there was no answer in time")
	case err == context.Canceled:
		return fault.Say("the request was interrupted")
	case err == io.EOF, err == io.ErrUnexpectedEOF:
		return fault.Say("the connection ended early")
	}
	return fault.Text{}
}
