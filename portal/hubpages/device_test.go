package hubpages

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/telemetry"
)

// A message that is too long for a page is cut between two characters.
func TestMessageIsCutBetweenCharacters(t *testing.T) {
	for _, body := range []string{"a" + strings.Repeat("é", maxShown), "ab" + strings.Repeat("中", maxShown),
		strings.Repeat("😀", maxShown)} {
		m := messageOf(telemetry.Message{Body: body})
		if !m.Cut || len(m.Text) > maxShown || len(m.Text) <= maxShown-utf8.UTFMax ||
			!strings.HasPrefix(body, m.Text) ||
			!utf8.ValidString(m.Text) {
			t.Errorf("of %.10q… there are %d bytes, ending with %q", body, len(m.Text), m.Text[len(m.Text)-4:])
		}
	}
}

// TestParsePosition reads where a stream goes on.
func TestParsePosition(t *testing.T) {
	at := message{Message: telemetry.Message{EnqueuedTime: document.Time{Time: time.Unix(5, 7)}, SequenceNumber: 3}}
	if from, after, err := parsePosition(at.Position()); !from.Time.Equal(time.Unix(5, 7)) || after != 3 || err != nil {
		t.Errorf("%s is %v after %d, error %v", at.Position(), from, after, err)
	}
	if from, _, err := parsePosition(""); from != (telemetry.Position{}) || err != nil {
		t.Errorf("no position is %v, error %v", from, err)
	}
	for _, wrong := range []string{"x", "1", "1/", "/1", "1/2/3", "0001-01-01T00:00:00Z", "99999999999999999999/1"} {
		if _, _, err := parsePosition(wrong); !errors.Is(err, fault.ArgumentInvalid) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}
