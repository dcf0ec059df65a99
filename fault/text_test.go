package fault

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var inFrench = map[string]string{
	"There is no %s %q in %s":       "Pas de %[1]s %[2]q dans %[3]s",
	"device":                        "appareil",
	"the chain":                     "la chaîne",
	"%s is %d years old, %q is not": "%[3]q n'a pas %[2]d ans, %[1]s si",
	"it is damaged":                 "il est abîmé",
	"100%% of %s":                   "tout (100 %%) de %s",
}

func translate(text string) string {
	if french, ok := inFrench[text]; ok {
		return french
	}
	return text
}

func TestText(t *testing.T) {
	for _, example := range []struct {
		text            Text
		english, french string
	}{
		{Text{}, "", ""},
		{Say("the chain"), "the chain", "la chaîne"},
		{Say("%s", "the chain"), "the chain", "the chain"}, // data
		{Say("%s is %d years old, %q is not", "a", 7, "b%d"), `a is 7 years old, "b%d" is not`,
			`"b%d" n'a pas 7 ans, a si`},
		{Say("There is no %s %q in %s", Word("device"), "device", Say("the chain")),
			`There is no device "device" in the chain`,
			`Pas de appareil "device" dans la chaîne`},
		{Say("100%% of %s", "it"), "100% of it", "tout (100 %) de it"},
		{Say("%.3s… and %05.1f", "abcdef", 2.25), "abc… and 002.2", "abc… and 002.2"},
		{New(DeviceNotFound, "There is no %s %q in %s", Word("device"), "x", "h").Text(), `There is no device "x" in h`,
			`Pas de appareil "x" dans h`},
		{Say("%s", New(DeviceNotFound, "There is no %s %q in %s", Word("device"), "x", "h")),
			`There is no device "x" in h`,
			`Pas de appareil "x" dans h`},
		{Say("%s, %v", "a", NewReason("%s is %d years old, %q is not", "b", 7, NewReason("the chain"))),
			`a, b is 7 years old, the chain is not`, `a, la chaîne n'a pas 7 ans, b si`},
		{TextOf(NewReason("100%% of %s", "x")), "100% of x", "tout (100 %) de x"},
		{TextOf(ReasonOf(New(NotFound, "100%% of %s", "x"))), "100% of x", "tout (100 %) de x"},
		{TextOf(errors.New("it is damaged")), "it is damaged", "il est abîmé"},
		{TextOf(errors.New("50% is damaged, %s")), "50% is damaged, %s", "50% is damaged, %s"},
		{TextOf(fmt.Errorf("load: %w", New(NotFound, "100%% of %s", "x"))), "100% of x", "tout (100 %) de x"},
	} {
		encoded, err := json.Marshal(example.text)
		if err != nil {
			t.Fatal(err)
		}
		var decoded Text
		if err := json.Unmarshal(encoded, &decoded); err != nil {
			t.Fatalf("%s: %v", encoded, err)
		}
		for _, text := range []Text{example.text, decoded} {
			if got := text.String(); got != example.english {
				t.Errorf("%s is %q, want %q", encoded, got, example.english)
			}
			if got := text.In(translate); got != example.french {
				t.Errorf("%s is %q in French, want %q", encoded, got, example.french)
			}
		}
	}
}

// A mistake in the program shows, and loses nothing.
func TestTextWithWrongArguments(t *testing.T) {
	for _, text := range []Text{Say(strings.Clone("%s and %s"), "one"), Say(strings.Clone("%s and"), "one", "two")} {
		if got := text.String(); !strings.Contains(got, "one") || !strings.Contains(got, "%!") {
			t.Errorf("%q does not show the mistake", got)
		}
	}
}

func TestTextIsBounded(t *testing.T) {
	long := strings.Repeat("é", maxMessage)
	if got := Say("%s, %s", long, Say("%s", long)).String(); len(got) > maxMessage+10 {
		t.Errorf("a text of %d bytes", len(got))
	}
}

// A text says what fmt.Sprintf does, and so does its JSON.
func TestTextRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		format, args := "", []any{}
		for range rapid.IntRange(0, 6).Draw(t, "parts") {
			format += strings.ReplaceAll(rapid.StringN(0, 10, 40).Draw(t, "literal"), "%", "%%")
			switch rapid.IntRange(0, 3).Draw(t, "verb") {
			case 0:
				format, args = format+"%s", append(args, rapid.StringN(0, 10, 40).Draw(t, "text"))
			case 1:
				format, args = format+"%.5q", append(args, rapid.StringN(0, 10, 40).Draw(t, "quoted"))
			case 2:
				format, args = format+"%d", append(args, rapid.Int().Draw(t, "number"))
			}
		}
		want := fmt.Sprintf(format, args...)
		encoded, err := json.Marshal(Say(format, args...))
		if err != nil {
			t.Fatal(err)
		}
		var decoded Text
		if err := json.Unmarshal(encoded, &decoded); err != nil {
			t.Fatal(err)
		}
		if got := decoded.String(); got != want {
			t.Fatalf("%q became %q", want, got)
		}
	})
}
