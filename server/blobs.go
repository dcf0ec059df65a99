package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/job"
)

// blobs are containers of Azure Blob Storage, or what speaks like it, on the hosts that the
// operator allows: who may have identities exported must not have the server send them, keys
// and all, wherever he likes.
type blobs struct {
	hosts  []string
	client http.Client
}

var _ job.Blobs = (*blobs)(nil)

const (
	blockSize    = 4 << 20 // of what is written at once
	maxBlocks    = 50_000  // of a blob, as with Azure
	blobTimeout  = time.Minute
	blobVersion  = "2020-10-02" // x-ms-version
	maxBlobReply = 64 << 10     // bytes of a reply to a write
)

// newBlobs trusts the authorities given, the system's when nil.
func newBlobs(hosts []string, roots *x509.CertPool) *blobs {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	transport.ResponseHeaderTimeout = blobTimeout
	transport.MaxResponseHeaderBytes = maxWebhookHeader
	return &blobs{hosts: hosts, client: http.Client{Transport: transport,
		// A redirect could lead to a host that is not allowed.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// Check implements job.Blobs.
func (b *blobs) Check(container string) error {
	address, err := url.Parse(container)
	if err != nil || address.Scheme != "https" || address.Host == "" || address.User != nil ||
		strings.Trim(address.Path, "/") == "" {
		return fault.New(fault.InvalidContainer, "The address of the container must be "+
			"https://HOST/CONTAINER?SIGNATURE, with a shared access signature")
	}
	if !slices.ContainsFunc(b.hosts, func(host string) bool { return strings.EqualFold(host, address.Host) }) {
		return fault.New(fault.InvalidContainer, "The host %.253q of the container is not allowed. "+
			"Who runs the server allows it with berth up --storage-host", address.Host)
	}
	return nil
}

// do sends a request about a blob. query is added to the signature of the container.
func (b *blobs) do(
	ctx context.Context, method, container, name, query string, body []byte,
) (*http.Response, error) {
	if err := b.Check(container); err != nil { // the hosts may be others since the job was taken up
		return nil, err
	}
	address, err := url.Parse(container)
	if err != nil {
		return nil, err
	}
	address.Path, address.RawPath = path.Join(address.Path, name), ""
	if query != "" {
		address.RawQuery = strings.TrimPrefix(address.RawQuery+"&"+query, "&")
	}
	request, err := http.NewRequestWithContext(ctx, method, address.String(), bytes.NewReader(body))
	if err != nil {
		return nil, stripAddress(err)
	}
	request.Header.Set("x-ms-version", blobVersion)
	response, err := b.client.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fault.New(fault.InvalidContainer, "The container at %.253q can't be reached", address.Host).
			Because(stripAddress(err))
	}
	if response.StatusCode/100 != 2 {
		io.Copy(io.Discard, io.LimitReader(response.Body, maxBlobReply))
		response.Body.Close()
		return nil, fault.New(fault.InvalidContainer, "The container at %.253q answers with the status %d to %s %.64s",
			address.Host, response.StatusCode, method, name)
	}
	return response, nil
}

// Get implements job.Blobs.
func (b *blobs) Get(ctx context.Context, container, name string) (io.ReadCloser, error) {
	response, err := b.do(ctx, http.MethodGet, container, name, "", nil)
	if err != nil {
		return nil, err
	}
	return response.Body, nil
}

// Put implements job.Blobs: it puts block after block, and then the list of them, by which
// they become the blob.
func (b *blobs) Put(ctx context.Context, container, name string, write func(io.Writer) error) error {
	w := &blockWriter{put: func(query string, body []byte) error {
		ctx, cancel := context.WithTimeout(ctx, blobTimeout)
		defer cancel()
		response, err := b.do(ctx, http.MethodPut, container, name, query, body)
		if err != nil {
			return err
		}
		io.Copy(io.Discard, io.LimitReader(response.Body, maxBlobReply))
		return response.Body.Close()
	}}
	if err := write(w); err != nil {
		return err
	}
	if err := w.flush(); err != nil {
		return err
	}
	var list strings.Builder
	list.WriteString(`<?xml version="1.0" encoding="utf-8"?><BlockList>`)
	for i := range w.blocks {
		fmt.Fprintf(&list, "<Latest>%s</Latest>", blockID(i))
	}
	list.WriteString("</BlockList>")
	return w.put("comp=blocklist", []byte(list.String()))
}

// blockWriter puts what is written in blocks.
type blockWriter struct {
	put    func(query string, body []byte) error
	buffer []byte
	blocks int
}

// Write implements io.Writer.
func (w *blockWriter) Write(content []byte) (int, error) {
	w.buffer = append(w.buffer, content...)
	for len(w.buffer) >= blockSize {
		if err := w.putBlock(w.buffer[:blockSize]); err != nil {
			return 0, err
		}
		w.buffer = append(w.buffer[:0], w.buffer[blockSize:]...)
	}
	return len(content), nil
}

func (w *blockWriter) flush() error {
	if len(w.buffer) == 0 {
		return nil
	}
	return w.putBlock(w.buffer)
}

func (w *blockWriter) putBlock(block []byte) error {
	if w.blocks == maxBlocks {
		return fault.New(fault.InvalidContainer, "The export is larger than a blob can be")
	}
	if err := w.put("comp=block&blockid="+url.QueryEscape(blockID(w.blocks)), block); err != nil {
		return err
	}
	w.blocks++
	return nil
}

// blockID is the id of a block: all have one length, as Azure asks.
func blockID(n int) string { return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%08d", n)) }
