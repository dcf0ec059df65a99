package server

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// Without TLS a webhook is called on this machine alone, whatever the name leads to,
// and no redirect is followed.
func TestWebhookStaysOnThisMachine(t *testing.T) {
	var asked atomic.Int64
	listening := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	defer listening.Close()
	hook := newWebhook(nil)
	status, _, err := hook.Call(t.Context(), listening.URL, []byte("{}"), 100)
	if err != nil || status != http.StatusTemporaryRedirect || asked.Load() != 1 {
		t.Errorf("it is answered %d, error %v, and was asked %d times", status, err, asked.Load())
	}
	// 0.0.0.0 leads here, as a name could lead anywhere.
	_, _, err = hook.Call(t.Context(), strings.Replace(listening.URL, "127.0.0.1", "0.0.0.0", 1), []byte("{}"), 100)
	if err == nil || asked.Load() != 1 {
		t.Errorf("by another address it is asked %d times, error %v", asked.Load(), err)
	}
}
