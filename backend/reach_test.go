package backend

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/berth-iot/berth/fault"
)

// TestReasonInFrench translates the address around the system's words, and these.
func TestReasonInFrench(t *testing.T) {
	err := unreachable("dps.example", os.NewSyscallError("connect", syscall.ECONNREFUSED))
	said := fault.TextOf(err).In(func(text string) string {
		return map[string]string{"cannot reach the server at %s: %s": "le serveur à %s ne peut pas être joint : %s",
			"connection refused": "connexion refusée"}[text]
	})
	if want := "le serveur à dps.example ne peut pas être joint : connexion refusée"; said != want {
		t.Errorf("it is told as %q, want %q", said, want)
	}
}

// TestReason tells in words why a service can't be reached, wherever the reason is
// wrapped.
func TestReason(t *testing.T) {
	dialed := func(err error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 443}, Err: err}
	}
	expired := &x509.Certificate{NotBefore: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2026, 1, 1,
		0, 0, 0, 0, time.UTC)}
	named := &x509.Certificate{DNSNames: []string{"a.example"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	verify := func(err error) error { return &tls.CertificateVerificationError{Err: err} }
	for _, c := range []struct {
		err  error
		want string
	}{
		{dialed(os.NewSyscallError("connect", syscall.ECONNREFUSED)),
			"cannot reach the server at 127.0.0.1:443: connection refused"},
		{&net.OpError{Op: "dial", Err: &net.DNSError{Name: "dps.example", IsNotFound: true}},
			`cannot reach the server at dps.example: there is no host "dps.example"`},
		{&net.OpError{Op: "dial", Err: &net.DNSError{Name: "dps.example", IsTemporary: true}},
			`cannot reach the server at dps.example: the name "dps.example" can't be looked up now`},
		{dialed(os.ErrDeadlineExceeded), "cannot reach the server at 127.0.0.1:443: there was no answer in time"},
		{context.DeadlineExceeded, "cannot reach the server at dps.example: there was no answer in time"},
		{context.Canceled, "cannot reach the server at dps.example: the request was interrupted"},
		{fmt.Errorf("read: %w", io.EOF), "cannot reach the server at dps.example: the connection ended early"},
		{tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"},
			"cannot reach the server at dps.example: what answers there does not speak TLS"},
		{errors.New("http: server gave HTTP response to HTTPS client"),
			"cannot reach the server at dps.example: what answers there does not speak TLS"},
		{verify(x509.UnknownAuthorityError{}),
			"cannot reach the server at dps.example: its certificate is signed by an authority that is not trusted here"},
		{verify(x509.HostnameError{Certificate: named, Host: "dps.example"}),
			"cannot reach the server at dps.example: its certificate is for a.example, 127.0.0.1, not for dps.example"},
		{verify(x509.CertificateInvalidError{Cert: expired, Reason: x509.Expired}),
			"cannot reach the server at dps.example: its certificate is valid from 2025-01-01T00:00:00Z to " +
				"2026-01-01T00:00:00Z"},
	} {
		err := unreachable("dps.example", &url.Error{Op: "Get", URL: "https://dps.example/x", Err: c.err})
		if err.Error() != c.want || !errors.Is(err, c.err) {
			t.Errorf("%v is told as\n%s, want\n%s", c.err, err, c.want)
		}
	}
}
