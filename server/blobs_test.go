package server

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/berth-iot/berth/fault"
)

// storage is a container as Azure Blob Storage has it: blocks become a blob by their list.
type storage struct {
	mutex  sync.Mutex
	blocks map[string][]byte
	blobs  map[string][]byte
}

var latest = regexp.MustCompile(`<Latest>([^<]*)</Latest>`)

func (s *storage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	body, err := io.ReadAll(r.Body)
	query := r.URL.Query()
	switch {
	case err != nil:
		w.WriteHeader(http.StatusBadRequest)
	case query.Get("sig") != "se+cret=":
		w.WriteHeader(http.StatusForbidden)
	case r.URL.Path == "/container/moved":
		http.Redirect(w, r, "/container/elsewhere?sig=se%2Bcret%3D", http.StatusTemporaryRedirect)
	case r.Method == http.MethodGet && s.blobs[r.URL.Path] != nil:
		w.Write(s.blobs[r.URL.Path])
	case r.Method == http.MethodPut && query.Get("comp") == "block":
		s.blocks[query.Get("blockid")] = body
		w.WriteHeader(http.StatusCreated)
	case r.Method == http.MethodPut && query.Get("comp") == "blocklist":
		blob := []byte{}
		for _, id := range latest.FindAllSubmatch(body, -1) {
			blob = append(blob, s.blocks[string(id[1])]...)
		}
		s.blobs[r.URL.Path] = blob
		w.WriteHeader(http.StatusCreated)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// TestBlobs writes a blob of several blocks and reads it, and reaches no host that is not
// allowed.
func TestBlobs(t *testing.T) {
	s := &storage{blocks: make(map[string][]byte), blobs: make(map[string][]byte)}
	listening := httptest.NewTLSServer(s)
	defer listening.Close()
	roots := x509.NewCertPool()
	roots.AddCert(listening.Certificate())
	host := strings.TrimPrefix(listening.URL, "https://")
	b := newBlobs([]string{host}, roots)
	container := listening.URL + "/container?sig=se%2Bcret%3D"
	if err := b.Check(container); err != nil {
		t.Fatal(err)
	}
	line := strings.Repeat("x", 1<<20) + "\n"
	if err := b.Put(t.Context(), container, "devices.txt", func(w io.Writer) error {
		for range 9 {
			if _, err := io.WriteString(w, line); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(s.blocks) != 3 {
		t.Errorf("it was put in %d blocks", len(s.blocks))
	}
	for id := range s.blocks {
		if decoded, err := base64.StdEncoding.DecodeString(id); err != nil || len(decoded) != 8 {
			t.Errorf("a block has the id %q", id)
		}
	}
	content, err := b.Get(t.Context(), container, "devices.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	if read, err := io.ReadAll(content); err != nil || string(read) != strings.Repeat(line, 9) {
		t.Errorf("%d bytes are read: %v", len(read), err)
	}

	failed := errors.New("no more")
	if err := b.Put(t.Context(), container, "half", func(io.Writer) error { return failed }); err != failed ||
		s.blobs["/container/half"] != nil {
		t.Errorf("a blob that was not written whole: %v", err)
	}
	for name, refused := range map[string]string{
		"none": container, "devices.txt": listening.URL + "/container?sig=other", "moved": container,
		"x": strings.Replace(container, host, "localhost:1", 1),
	} {
		_, err := b.Get(t.Context(), refused, name)
		if !errors.Is(err, fault.InvalidContainer) || strings.Contains(fmt.Sprint(err), "sig=") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, address := range []string{"", "http://" + host + "/container", "https://" + host, "https://u:p@" + host + "/c",
		"https://example.com/container", "container"} {
		if err := b.Check(address); !errors.Is(err, fault.InvalidContainer) {
			t.Errorf("%q: %v", address, err)
		}
	}
}
