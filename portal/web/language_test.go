package web

import (
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
)

// languages are those of the portal.
var languages = ReadLanguages(os.DirFS("../messages"))

var english, french = languages[0], languages[1]

func TestLanguageOf(t *testing.T) {
	site := &Site{config: Config{Languages: languages}}
	for _, example := range []struct{ cookie, accept, want string }{
		{"", "", "en"},
		{"", "fr", "fr"},
		{"", "FR-ca", "fr"},
		{"", "fr-FR,fr;q=0.9,en-US;q=0.8,en;q=0.7", "fr"},
		{"", "en-GB,en;q=0.9,fr;q=0.8", "en"},
		{"", "en;q=0.5, fr;q=0.9", "fr"},
		{"", "en; q=0.1 , fr; q=0.2", "fr"},
		{"", "fr,en", "fr"},
		{"", "en,fr", "en"},
		{"", "fr;q=0.5,en;q=0.5", "fr"},
		{"", "de,it;q=0.9,fr;q=0.1", "fr"},
		{"", "de", "en"},
		{"", "*", "en"},
		{"", "fr;q=0", "en"},
		{"", "fr;q=0,en;q=0.1", "en"},
		{"", "fr;q=much,en;q=0.1", "en"},
		{"", ";;,=q,", "en"},
		{"", "french", "en"},
		{"fr", "", "fr"},
		{"fr", "en", "fr"},
		{"en", "fr", "en"},
		{"de", "fr", "fr"},
		{"de", "", "en"},
	} {
		r := httptest.NewRequest(http.MethodGet, Root, nil)
		if example.accept != "" {
			r.Header.Set("Accept-Language", example.accept)
		}
		if example.cookie != "" {
			r.AddCookie(&http.Cookie{Name: "berth-language", Value: example.cookie})
		}
		if got := site.languageOf(r).Tag; got != example.want {
			t.Errorf("cookie %q, Accept-Language %q: %s, want %s", example.cookie, example.accept, got, example.want)
		}
	}
}

func TestLanguageN(t *testing.T) {
	for _, example := range []struct {
		language *Language
		n        int
		want     string
	}{
		{english, 0, "Delete 0 devices?"},
		{english, 1, "Delete 1 device?"},
		{english, 2, "Delete 2 devices?"},
		{english, 1000, "Delete 1,000 devices?"},
		{french, 0, "Supprimer 0 appareil\u00a0?"},
		{french, 1, "Supprimer 1 appareil\u00a0?"},
		{french, 2, "Supprimer 2 appareils\u00a0?"},
		{french, 1000, "Supprimer 1\u202f000 appareils\u00a0?"},
	} {
		if got := example.language.N("Delete %d device?|Delete %d devices?", example.n); got != example.want {
			t.Errorf("%s, %d: %q, want %q", example.language.Tag, example.n, got, example.want)
		}
	}
}

func TestLanguageNumber(t *testing.T) {
	for _, example := range []struct {
		n               int
		english, french string
	}{
		{0, "0", "0"},
		{999, "999", "999"},
		{-999, "-999", "-999"},
		{1000, "1,000", "1\u202f000"},
		{-1000, "-1,000", "-1\u202f000"},
		{-123456, "-123,456", "-123\u202f456"},
		{1234567, "1,234,567", "1\u202f234\u202f567"},
	} {
		if got := english.Number(example.n); got != example.english {
			t.Errorf("%d in English is %q, want %q", example.n, got, example.english)
		}
		if got := french.Number(example.n); got != example.french {
			t.Errorf("%d in French is %q, want %q", example.n, got, example.french)
		}
	}
}

func TestLanguageT(t *testing.T) {
	for _, example := range []struct {
		language   *Language
		text, want string
		args       []any
	}{
		{english, "Save", "Save", nil},
		{french, "Save", "Enregistrer", nil},
		{english, "theme: dark", "Dark", nil},
		{french, "IoT hub %s", "Hub IoT home", []any{"home"}},
		{french, "a name that somebody gave, 100% of it", "a name that somebody gave, 100% of it", nil},
	} {
		if got := example.language.T(example.text, example.args...); got != example.want {
			t.Errorf("%s of %q is %q, want %q", example.language.Tag, example.text, got, example.want)
		}
	}
}
