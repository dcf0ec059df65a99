package web

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Language is one language of the portal. Texts are named by themselves in
// English, so that a template reads as its page does; a text that depends on a
// number is named "one|many", and a value that would not be understood alone is
// named with what it is of, as in "theme: dark", in English too.
type Language struct {
	Tag  string // such as fr, for the attribute lang
	Name string // in itself

	messages map[string]string
	singular func(n int) bool
	group    string // between thousands
	point    string // before decimals
	layout   string // of times
}

// ReadLanguages returns English and French, with the messages en.json and fr.json of a
// folder: objects of translations by texts. It panics when one of them can't be read,
// which is a mistake in the program.
func ReadLanguages(files fs.FS) []*Language {
	return []*Language{{
		Tag: "en", Name: "English", messages: readMessages(files, "en.json"),
		singular: func(n int) bool { return n == 1 }, group: ",", point: ".", layout: "2006-01-02 15:04:05 UTC",
	}, {
		Tag: "fr", Name: "Français", messages: readMessages(files, "fr.json"),
		singular: func(n int) bool { return n < 2 }, group: "\u202f", point: ",", layout: "02/01/2006 15:04:05 UTC",
	}}
}

func readMessages(files fs.FS, name string) (messages map[string]string) {
	text, err := fs.ReadFile(files, name)
	if err == nil {
		err = json.Unmarshal(text, &messages)
	}
	if err != nil {
		panic(fmt.Sprintf("portal: messages %s: %v", name, err))
	}
	return messages
}

// Messages returns the translations into the language, by texts.
func (l *Language) Messages() map[string]string { return maps.Clone(l.messages) }

// Translate returns a text in the language, or as it is where it has no
// translation: data is not translated.
func (l *Language) Translate(text string) string {
	if translated, ok := l.messages[text]; ok {
		return translated
	}
	return text
}

// T returns a text of the portal with its arguments.
func (l *Language) T(text string, args ...any) string {
	if text = l.Translate(text); len(args) == 0 {
		return text
	}
	return fmt.Sprintf(text, args...)
}

// N returns a text that depends on a number, which is its argument.
func (l *Language) N(oneMany string, n int) string {
	one, many, _ := strings.Cut(l.Translate(oneMany), "|")
	if !l.singular(n) {
		one = many
	}
	return strings.Replace(one, "%d", l.Number(n), 1)
}

// Number writes a whole number with its thousands apart.
func (l *Language) Number(n int) string {
	digits := strconv.Itoa(n)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + l.group + digits[i:]
	}
	return digits
}

// Time writes a moment in UTC; the page's script shows it in the reader's zone.
func (l *Language) Time(t time.Time) string { return t.UTC().Format(l.layout) }

const languageCookie = "berth-language"

// languageOf returns the language that the reader chose, else the first of the
// browser's that there is, else the default one.
func (s *Site) languageOf(r *http.Request) *Language {
	if cookie, err := r.Cookie(languageCookie); err == nil {
		if l := s.findLanguage(cookie.Value); l != nil {
			return l
		}
	}
	var best *Language
	var quality float64
	for part := range strings.SplitSeq(r.Header.Get("Accept-Language"), ",") {
		tag, parameters, _ := strings.Cut(strings.TrimSpace(part), ";")
		wanted := 1.0
		if text, ok := strings.CutPrefix(strings.TrimSpace(parameters), "q="); ok {
			wanted, _ = strconv.ParseFloat(text, 64) // 0, not wanted, when it is no number
		}
		if l := s.findLanguage(strings.TrimSpace(tag)); l != nil && wanted > quality {
			best, quality = l, wanted
		}
	}
	if best == nil {
		return s.config.Languages[0]
	}
	return best
}

func (s *Site) findLanguage(tag string) *Language {
	primary, _, _ := strings.Cut(strings.ToLower(tag), "-")
	for _, l := range s.config.Languages {
		if l.Tag == primary {
			return l
		}
	}
	return nil
}

// Themes are those that a reader can choose, the default one first.
var Themes = []string{"system", "light", "dark"}

const themeCookie = "berth-theme"

func themeOf(r *http.Request) string {
	if cookie, err := r.Cookie(themeCookie); err == nil && slices.Contains(Themes, cookie.Value) {
		return cookie.Value
	}
	return Themes[0]
}
