// Package backend is a client of the service APIs, for command lines, tests and
// tools in Go: what Azure's service SDKs are, in small. Faults of the service
// come back as *fault.Error.
package backend

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
)

// Options say how a service is reached.
type Options struct {
	RootCAs *x509.CertPool // trusted authorities; the system's when nil
	Address string         // host:port to dial in place of the connection string's host and port 443

	// Turn waits until a request may be sent, and returns what is to be called when it is over.
	// It may be nil.
	Turn func(context.Context) (end func(), err error)

	// Unreadable is told of the records that belong into a list and that the service
	// can't read. It may be nil.
	Unreadable func(Unreadable)
}

const (
	tokenLife = time.Hour
	maxAnswer = 64 << 20 // bytes
	userAgent = "berth-backend/1"
)

// client sends requests to one service.
type client struct {
	connection credential.ConnectionString
	http       *http.Client
	apiVersion string
	unreadable func(Unreadable)
	turn       func(context.Context) (end func(), err error)
}

func newClient(connectionString, apiVersion string, options Options) (*client, error) {
	connection, err := credential.ParseConnectionString(connectionString)
	if err != nil {
		return nil, err
	}
	if connection.SharedAccessKeyName == "" {
		return nil, fault.NewReason("this is a device's connection string: a service's has SharedAccessKeyName")
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	transport := &http.Transport{
		// As other web clients do, it says what it is about to speak: a device's does not.
		TLSClientConfig: &tls.Config{RootCAs: options.RootCAs, MinVersion: tls.VersionTLS12,
			NextProtos: []string{"http/1.1"}},
		TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     30 * time.Second,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if options.Address != "" {
				address = options.Address
			}
			return dialer.DialContext(ctx, network, address)
		},
	}
	return &client{connection: connection, http: &http.Client{Transport: transport, CheckRedirect: refuseRedirect},
		apiVersion: apiVersion, unreadable: options.Unreadable, turn: options.Turn}, nil
}

// refuseRedirect ends a request at a redirect: the token is for one service.
func refuseRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Close lets go of idle connections.
func (c *client) Close() { c.http.CloseIdleConnections() }

// request is one call of an operation.
type request struct {
	method     string
	path       contract.Path // its ids are in it
	query      url.Values
	ifMatch    string
	header     http.Header // besides those that all requests have; nil for none
	body, into any         // JSON; nil for none
	maxAnswer  int64       // bytes of an answer; 64 MiB when 0
}

// do sends a request and reads its answer.
func (c *client) do(ctx context.Context, r request) error {
	_, err := c.exchange(ctx, r)
	return err
}

// exchange is do that returns the headers of the answer.
func (c *client) exchange(ctx context.Context, r request) (http.Header, error) {
	response, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return response.Header, r.read(response)
}

// read reads the answer of a request.
func (r request) read(response *http.Response) error {
	if r.into == nil {
		return nil
	}
	most := int64(maxAnswer)
	if r.maxAnswer > 0 {
		most = r.maxAnswer
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, most+1))
	switch {
	case err != nil:
	case int64(len(text)) > most:
		err = fmt.Errorf("it has more than %d bytes", most)
	default:
		err = document.CheckDepth(text, document.MaxDepth)
	}
	if err == nil && r.maxAnswer > 0 { // of one device: it is written again, elsewhere
		err = document.CheckText(text)
	}
	if err == nil {
		err = json.Unmarshal(text, r.into)
	}
	if err != nil {
		return fault.NewReason("read the answer of %s %s: %v", r.method, r.path, err).Because(err)
	}
	return nil
}

// send returns the response if it is a success; its body is the caller's to
// close.
func (c *client) send(ctx context.Context, r request) (*http.Response, error) {
	query := url.Values{"api-version": {c.apiVersion}}
	for name, values := range r.query {
		query[name] = values
	}
	var body io.Reader
	if r.body != nil {
		encoded, err := document.Marshal(r.body)
		if err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
		body = bytes.NewReader(encoded)
	}
	sent, err := http.NewRequestWithContext(ctx, r.method, "https://"+c.connection.HostName+string(r.path)+"?"+
		query.Encode(), body)
	if err != nil {
		return nil, err
	}
	token, err := credential.NewToken(sent.URL.Hostname(), c.connection.SharedAccessKeyName,
		c.connection.SharedAccessKey, time.Now().Add(tokenLife))
	if err != nil {
		return nil, err
	}
	sent.Header.Set("Authorization", token)
	sent.Header.Set("User-Agent", userAgent)
	if r.body != nil {
		sent.Header.Set("Content-Type", "application/json; charset=utf-8")
	}
	for name, values := range r.header {
		sent.Header[name] = values
	}
	if r.ifMatch != "" {
		sent.Header.Set("If-Match", r.ifMatch)
	}
	end := func() {}
	if c.turn != nil {
		if end, err = c.turn(ctx); err != nil {
			return nil, unreachable(sent.URL.Host, err)
		}
	}
	response, err := c.http.Do(sent)
	if err != nil {
		end()
		return nil, unreachable(sent.URL.Host, err)
	}
	response.Body = &lastBody{response.Body, end}
	if response.StatusCode >= 300 && !isBulkResult(response) {
		defer response.Body.Close()
		return nil, readFault(response)
	}
	return response, nil
}

// isBulkResult reports whether a refusal is the result of a bulk operation of a hub, of
// which some items failed.
func isBulkResult(response *http.Response) bool {
	return response.Header.Get(contract.HubErrorCodeHeader) == contract.BulkFailure
}

// lastBody is the body of an answer, with which a request is over.
type lastBody struct {
	io.ReadCloser
	end func()
}

// Close implements io.Closer.
func (b *lastBody) Close() error {
	defer b.end()
	return b.ReadCloser.Close()
}

// readFault reads an error in the form of either service.
func readFault(response *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("read the service's error: %w", err)
	}
	read, ok := contract.ParseRefusal(text)
	if !ok || read.Message == "" {
		return fault.NewReason("the service answers %s: %.200s", response.Status, text)
	}
	code, trackingID := read.Code, cmp.Or(read.TrackingID, response.Header.Get(contract.RequestIDHeader))
	// It is answered to others, logged and kept, as if it were one of our own. A code that
	// is not known, or is none of a refusal, becomes the generic one of the status.
	for _, instead := range []fault.Code{fault.Code(response.StatusCode * 1000), fault.Unavailable} {
		if status := code.Status(); status < 400 || status > 599 {
			code = instead
		}
	}
	problem := fault.New(code, "%s", read.Message)
	problem.RetryAfter = retryAfter(response)
	if len(trackingID) <= maxTrackingID {
		problem.TrackingID = trackingID
	}
	return problem
}

// maxTrackingID is the size of the longest tracking id that is taken: they are GUIDs.
const maxTrackingID = 64

// maxRetryAfter is the longest wait that a service may ask for.
const maxRetryAfter = 24 * time.Hour

// retryAfter is how long the service asks to wait, or zero.
func retryAfter(response *http.Response) time.Duration {
	seconds, err := strconv.ParseUint(response.Header.Get("Retry-After"), 10, 63)
	if err != nil {
		return 0
	}
	return time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
}

// Unreadable is a record that the service can't read.
type Unreadable = contract.Unreadable

func list[T any](ctx context.Context, c *client, path contract.Path, prefix, after string,
	top int) ([]T, string, error) {
	query := url.Values{}
	for name, value := range map[string]string{"prefix": prefix, "after": after} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if top > 0 {
		query.Set("top", fmt.Sprint(top))
	}
	var found contract.Page[T]
	err := c.do(ctx, request{method: http.MethodGet, path: path, query: query, into: &found})
	if c.unreadable != nil {
		for _, record := range found.Unreadable {
			c.unreadable(record)
		}
	}
	return found.Items, found.Next, err
}
