package portal

import (
	"embed"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// language is one language of the portal. Texts are named by themselves in
// English, so that a template reads as its page does; a text that depends on a
// number is named "one|many", and a value that would not be understood alone is
// named with what it is of, as in "theme: dark", in English too.
type language struct {
	Tag      string // such as fr, for the attribute lang
	Name     string // in itself
	messages map[string]string
	singular func(n int) bool
	group    string // between thousands
	point    string // before decimals
	layout   string // of times
}

//go:embed messages
var messageFiles embed.FS

var (
	english = &language{Tag: "en", Name: "English", singular: func(n int) bool { return n == 1 }, group: ",", point: ".", layout: "2006-01-02 15:04:05 UTC", messages: readMessages("messages/en.json")}
	french  = &language{Tag: "fr", Name: "Français", singular: func(n int) bool { return n < 2 }, group: "\u202f", point: ",", layout: "02/01/2006 15:04:05 UTC", messages: readMessages("messages/fr.json")}

	languages = []*language{english, french}
)

func readMessages(name string) (messages map[string]string) {
	text, err := messageFiles.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(text, &messages)
	}
	if err != nil {
		panic(fmt.Sprintf("portal: %s: %v", name, err)) // a mistake in the program
	}
	return messages
}

// translate returns a text in the language, or as it is where it has no
// translation: data is not translated.
func (l *language) translate(text string) string {
	if translated, ok := l.messages[text]; ok {
		return translated
	}
	return text
}

// T returns a text of the portal with its arguments.
func (l *language) T(text string, args ...any) string {
	if text = l.translate(text); len(args) == 0 {
		return text
	}
	return fmt.Sprintf(text, args...)
}

// N returns a text that depends on a number, which is its argument.
func (l *language) N(oneMany string, n int) string {
	one, many, _ := strings.Cut(l.translate(oneMany), "|")
	if !l.singular(n) {
		one = many
	}
	return strings.Replace(one, "%d", l.Number(n), 1)
}

// Number writes a whole number with its thousands apart.
func (l *language) Number(n int) string {
	digits := strconv.Itoa(n)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + l.group + digits[i:]
	}
	return digits
}

// Time writes a moment in UTC; the page's script shows it in the reader's zone.
func (l *language) Time(t time.Time) string { return t.UTC().Format(l.layout) }

const languageCookie = "berth-language"

// languageOf returns the language that the reader chose, else the first of the
// browser's that there is, else English.
func languageOf(r *http.Request) *language {
	if cookie, err := r.Cookie(languageCookie); err == nil {
		if l := findLanguage(cookie.Value); l != nil {
			return l
		}
	}
	type wish struct {
		language *language
		quality  float64
	}
	var wishes []wish
	for part := range strings.SplitSeq(r.Header.Get("Accept-Language"), ",") {
		tag, parameters, _ := strings.Cut(strings.TrimSpace(part), ";")
		quality := 1.0
		if text, ok := strings.CutPrefix(strings.TrimSpace(parameters), "q="); ok {
			quality, _ = strconv.ParseFloat(text, 64) // 0, not wanted, when it is no number
		}
		if l := findLanguage(strings.TrimSpace(tag)); l != nil && quality > 0 {
			wishes = append(wishes, wish{l, quality})
		}
	}
	slices.SortStableFunc(wishes, func(a, b wish) int {
		switch {
		case a.quality > b.quality:
			return -1
		case a.quality < b.quality:
			return 1
		}
		return 0
	})
	if len(wishes) == 0 {
		return english
	}
	return wishes[0].language
}

func findLanguage(tag string) *language {
	primary, _, _ := strings.Cut(strings.ToLower(tag), "-")
	for _, l := range languages {
		if l.Tag == primary {
			return l
		}
	}
	return nil
}

// The themes that a reader can choose.
var themes = []string{"system", "light", "dark"}

const themeCookie = "berth-theme"

func themeOf(r *http.Request) string {
	if cookie, err := r.Cookie(themeCookie); err == nil && slices.Contains(themes, cookie.Value) {
		return cookie.Value
	}
	return themes[0]
}
