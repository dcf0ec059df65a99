package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"github.com/berth-iot/berth/provisioning/allocation"
)

// webhook calls the operator's web services by HTTP.
type webhook struct{ client http.Client }

var _ allocation.Webhook = (*webhook)(nil)

// maxWebhookHeader bounds the header of an answer in bytes.
const maxWebhookHeader = 64 << 10

// newWebhook trusts the authorities given; the system's when nil.
func newWebhook(roots *x509.CertPool) *webhook {
	secure := http.DefaultTransport.(*http.Transport).Clone()
	secure.TLSClientConfig = &tls.Config{RootCAs: roots}
	secure.MaxResponseHeaderBytes = maxWebhookHeader
	plain := secure.Clone()
	plain.Proxy = nil
	plain.DialContext = (&net.Dialer{Timeout: 5 * time.Second, Control: onlyLoopback}).DialContext
	return &webhook{http.Client{
		Transport: byScheme{secure, plain},
		// A redirect could lead where the operator never pointed.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// byScheme calls with TLS wherever the operator says, and without on this machine
// alone.
type byScheme struct{ secure, plain *http.Transport }

func (t byScheme) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme == "https" {
		return t.secure.RoundTrip(r)
	}
	return t.plain.RoundTrip(r)
}

// onlyLoopback refuses to connect elsewhere, whatever a name server says of the name.
func onlyLoopback(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || !to.Addr().IsLoopback() {
		return fmt.Errorf("without TLS a webhook must be on this machine, and this is %s", address)
	}
	return nil
}

// Call implements provisioning.Webhook.
func (w *webhook) Call(ctx context.Context, address string, body []byte, most int) (int, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return 0, nil, stripAddress(err)
	}
	request.Header.Set("Content-Type", "application/json; charset=utf-8")
	response, err := w.client.Do(request)
	if err != nil {
		return 0, nil, stripAddress(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, int64(most)))
	if err != nil {
		return response.StatusCode, nil, fmt.Errorf("read the webhook's answer: %w", err)
	}
	return response.StatusCode, answer, nil
}

// stripAddress is the error beneath that of a call: the address may hold a key.
func stripAddress(err error) error {
	var called *url.Error
	if errors.As(err, &called) {
		err = called.Err
	}
	if errors.Is(err, http.ErrSchemeMismatch) {
		err = tls.RecordHeaderError{Msg: err.Error()} // as from others that do not speak TLS
	}
	return fmt.Errorf("call the webhook: %w", err)
}
