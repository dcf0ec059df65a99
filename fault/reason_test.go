package fault

import (
	"errors"
	"testing"
)

// TestReasons are translated with the message that quotes them, their arguments too,
// and are found by what they are a case of.
func TestReasons(t *testing.T) {
	cause := errors.New("a file of another kind")
	french := map[string]string{
		"The file is refused: %v": "Le fichier est refusé : %v",
		"part %d has %v":          "la partie %d a %v",
		"%d letters":              "%d lettres",
		"it is empty":             "il est vide",
	}
	translate := func(text string) string {
		if translated, ok := french[text]; ok {
			return translated
		}
		return text
	}
	for _, c := range []struct {
		reason            *Reason
		english, inFrench string
	}{
		{NewReason("part %d has %v", 2, NewReason("%d letters", 7)), "part 2 has 7 letters", "la partie 2 a 7 lettres"},
		{NewReason("it is empty"), "it is empty", "il est vide"},
		{NewReason("100 %% of %s", "it"), "100 % of it", "100 % of it"},
	} {
		problem := New(ArgumentInvalid, "The file is refused: %v", c.reason.Because(cause))
		if want := "The file is refused: " + c.english; problem.Message != want {
			t.Errorf("the message is %q, want %q", problem.Message, want)
		}
		if got, want := problem.In(translate), "Le fichier est refusé : "+c.inFrench; got != want {
			t.Errorf("in French it is %q, want %q", got, want)
		}
		if !errors.Is(c.reason, cause) {
			t.Errorf("%q is not found by its cause", c.reason)
		}
	}
}
