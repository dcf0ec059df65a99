package enroll

import (
	"strings"
	"testing"
)

// TestRegistrationIDQuotesCharacters: what a message quotes is a character of the id,
// not a byte of one.
func TestRegistrationIDQuotesCharacters(t *testing.T) {
	for id, want := range map[string]string{
		"café":                   `has the character 'é'`,
		"中":                      `has the character '中'`,
		"a😀":                     `has the character '😀'`,
		"x\xe9":                  `has the character '�'`,
		"end.":                   `ends with '.'`,
		strings.Repeat("é", 100): `has the character 'é'`,
		strings.Repeat("é", 129): `has 129 characters`,
		strings.Repeat("e", 129): `has 129 characters`,
	} {
		if err := CheckRegistrationID(id); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the id %q: %v, want %s", id, err, want)
		}
	}
}
