package cli

import (
	"bytes"
	"strings"
	"testing"
)

// TestConfirm takes nothing but a yes for one.
func TestConfirm(t *testing.T) {
	for answer, want := range map[string]bool{"y\n": true, "YES\r\n": true, " yes ": true, "": false, "\n": false,
		"n\n": false, "yep\n": false} {
		c := &Env{Stderr: new(bytes.Buffer)}
		if c.confirm(strings.NewReader(answer), "Delete all?") != want {
			t.Errorf("%q is taken for %v", answer, !want)
		}
	}
}
