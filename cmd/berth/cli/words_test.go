package cli

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/server"
)

// TestInWords tells errors of libraries in words, wherever they are wrapped.
func TestInWords(t *testing.T) {
	dial := &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 443},
		Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	unknown := &net.DNSError{Err: "no such host", Name: "dps.example", IsNotFound: true}
	for _, c := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("register: %w", &net.OpError{Op: "dial", Net: "tcp", Err: unknown}),
			`there is no host "dps.example"`},
		{fmt.Errorf("register with dps.example: %w",
			&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}),
			"register with dps.example: its certificate is signed by an authority that is not trusted here"},
		{fmt.Errorf("connect: %w", os.ErrDeadlineExceeded), "connect: there was no answer in time"},
		{fmt.Errorf("register with %s: %w", "dps.example:8883", dial),
			"cannot reach the server at 127.0.0.1:443: connection refused"},
		{fmt.Errorf("read the file: %w", &fs.PathError{Op: "open", Path: "x.json", Err: syscall.ENOENT}),
			"read the file: x.json: no such file or directory"},
		{fmt.Errorf("x.json is no saved attempt: %w", json.Unmarshal([]byte(`{`), new(any))),
			"x.json is no saved attempt: it is not JSON"},
		{fmt.Errorf("x.json is no saved attempt: %w", json.Unmarshal([]byte(`{"idScope":7}`), new(server.Info))),
			"x.json is no saved attempt: idScope can't be a JSON number"},
		{fmt.Errorf("the answer: %w", json.Unmarshal([]byte(`{"allocationPolicy":7}`), new(enroll.Enrollment))),
			"the answer: allocationPolicy can't be a JSON number"},
		{errors.New("what Berth says itself"), "what Berth says itself"},
	} {
		if got := inWords(c.err); got != c.want {
			t.Errorf("%v\nis told as\n%s, want\n%s", c.err, got, c.want)
		}
	}
}
