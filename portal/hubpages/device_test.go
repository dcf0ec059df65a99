package hubpages

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/berth-iot/berth/hub/telemetry"
)

// A message that is too long for a page is cut between two characters.
func TestMessageIsCutBetweenCharacters(t *testing.T) {
	for _, body := range []string{"a" + strings.Repeat("é", maxShown), "ab" + strings.Repeat("中", maxShown), strings.Repeat("😀", maxShown)} {
		m := messageOf(telemetry.Message{Body: body})
		if !m.Cut || len(m.Text) > maxShown || len(m.Text) <= maxShown-utf8.UTFMax || !strings.HasPrefix(body, m.Text) ||
			!utf8.ValidString(m.Text) {
			t.Errorf("of %.10q… there are %d bytes, ending with %q", body, len(m.Text), m.Text[len(m.Text)-4:])
		}
	}
}
