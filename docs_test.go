package berth

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// frenchDocs are the pages that there are in both languages.
var frenchDocs = map[string]string{
	"provisioning.md":  "approvisionnement.md",
	"compatibility.md": "compatibilite.md",
	"trust.md":         "confiance.md",
	"ci.md":            "integration-continue.md",
	"azure.md":         "depuis-azure.md",
	"durability.md":    "durabilite.md",
}

// TestFrenchDocs holds the French pages against the English ones: the same sections in
// the same order, the same commands, as many rows and items, and in each section the
// same flags, fields and figures set as code. What is added to one page and not to the
// other shows here.
func TestFrenchDocs(t *testing.T) {
	for english, french := range frenchDocs {
		one, other := readDoc(t, english), readDoc(t, french)
		if len(one) != len(other) {
			t.Errorf("%s has %d sections, %s %d", english, len(one), french, len(other))
			continue
		}
		for i, section := range one {
			for _, difference := range section.differences(other[i]) {
				t.Errorf("%s, %q and %s, %q: %s", english, section.title, french, other[i].title, difference)
			}
		}
		for name, link := range map[string]string{english: french, french: english} {
			if text := docText(t, name); !strings.Contains(text, "]("+link+")*\n") {
				t.Errorf("%s does not lead to %s below its title", name, link)
			}
		}
		if readme := docText(t, "../README.md"); !strings.Contains(readme, "(docs/"+french+")") {
			t.Errorf("README.md does not lead to %s", french)
		}
	}
}

// TestFrenchDocsFails proves that what stands in one page alone is found.
func TestFrenchDocsFails(t *testing.T) {
	const page = "# A\n\nSay `--x` or `--y`.\n\n    berth a\n\n| a |\n|---|\n| b |\n\n- one\n- two\n"
	for name, other := range map[string]string{
		"":               "# B\n\nDites `--y` ou `--x`, puis\n`--x`.\n\n    berth a\n\n| c |\n|---|\n| d |\n\n- un\n- deux\n",
		"a command":      strings.Replace(page, "berth a", "berth b", 1),
		"a flag":         strings.Replace(page, "`--y`", "`--z`", 1),
		"a row":          strings.Replace(page, "| b |", "| b |\n| c |", 1),
		"an item":        strings.Replace(page, "- two", "", 1),
		"a lower title":  strings.Replace(page, "# A", "## A", 1),
		"code that ends": strings.Replace(page, "    berth a", "", 1),
	} {
		differences := sectionsOf(page)[0].differences(sectionsOf(other)[0])
		if (len(differences) > 0) != (name != "") {
			t.Errorf("%s: %v", name, differences)
		}
	}
	if n := len(sectionsOf(page + "## B\n")); n != 2 {
		t.Errorf("the page has %d sections", n)
	}
}

// docSection is what must be the same in each language in the part below a heading.
type docSection struct {
	title       string
	level       int
	code        []string // blocks
	spans       []string // in the text, each once
	rows, items int
}

func (s docSection) differences(other docSection) (found []string) {
	if s.level != other.level {
		found = append(found, "the headings have other levels")
	}
	if !slices.Equal(s.code, other.code) {
		found = append(found, "the code differs:\n"+strings.Join(s.code, "\n")+"\nand\n"+strings.Join(other.code, "\n"))
	}
	if s.rows != other.rows || s.items != other.items {
		found = append(found, "tables have other numbers of rows, or lists of items")
	}
	for _, side := range [][2][]string{{s.spans, other.spans}, {other.spans, s.spans}} {
		for _, span := range side[0] {
			if !slices.Contains(side[1], span) {
				found = append(found, "only one has `"+span+"`")
			}
		}
	}
	return found
}

func docText(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func readDoc(t *testing.T, name string) []docSection {
	t.Helper()
	return sectionsOf(docText(t, name))
}

var codeSpan = regexp.MustCompile("`([^`]+)`")

// sectionsOf takes a page apart at its headings.
func sectionsOf(page string) (sections []docSection) {
	var prose strings.Builder
	var block []string
	finish := func() {
		if len(sections) == 0 {
			return
		}
		last := &sections[len(sections)-1]
		for _, span := range codeSpan.FindAllStringSubmatch(prose.String(), -1) {
			last.spans = append(last.spans, strings.Join(strings.Fields(span[1]), " "))
		}
		slices.Sort(last.spans)
		last.spans = slices.Compact(last.spans)
		prose.Reset()
	}
	for line := range strings.Lines(page) {
		line = strings.TrimSuffix(line, "\n")
		if code, ok := strings.CutPrefix(line, "    "); ok {
			block = append(block, code)
			continue
		}
		if len(block) > 0 {
			last := &sections[len(sections)-1]
			last.code, block = append(last.code, strings.Join(block, "\n")), nil
		}
		switch {
		case strings.HasPrefix(line, "#"):
			finish()
			title := strings.TrimLeft(line, "#")
			sections = append(sections, docSection{title: strings.TrimSpace(title), level: len(line) - len(title)})
			continue
		case strings.HasPrefix(line, "|"):
			sections[len(sections)-1].rows++
		case strings.HasPrefix(line, "- "):
			sections[len(sections)-1].items++
		}
		prose.WriteString(line + "\n")
	}
	finish()
	return sections
}

// TestExampleInDocs holds the Go test that the pages on continuous integration show
// against the one that is run.
func TestExampleInDocs(t *testing.T) {
	text, err := os.ReadFile("berthtest/thermostat_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(text), "package berthtest_test\n")
	for _, name := range []string{"ci.md", "integration-continue.md"} {
		_, shown, found := strings.Cut(docText(t, name), "    package thermostat_test\n")
		if shown = strings.ReplaceAll(shown, "\n    ", "\n"); !found || !strings.HasPrefix(shown, example) {
			t.Errorf("docs/%s has another test than berthtest/thermostat_test.go", name)
		}
	}
}

// TestLinksInDocs follows the links of the documentation: the files are there, and so
// are the sections.
func TestLinksInDocs(t *testing.T) {
	pages, err := filepath.Glob("docs/*.md")
	if err != nil || len(pages) < 10 {
		t.Fatalf("there are %d pages, error %v", len(pages), err)
	}
	decisions, err := filepath.Glob("docs/decisions/*.md")
	if err != nil || len(decisions) < 10 {
		t.Fatalf("there are %d decisions, error %v", len(decisions), err)
	}
	pages = append(append(pages, decisions...), "README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md",
		"store/segment/README.md")
	link, fenced := regexp.MustCompile(`\]\(([^()\s]+)\)`), regexp.MustCompile("(?ms)^```.*?^```$")
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range link.FindAllStringSubmatch(codeSpan.ReplaceAllString(fenced.ReplaceAllString(string(text),
			""), ""), -1) {
			if strings.Contains(found[1], "://") {
				continue
			}
			file, section, _ := strings.Cut(found[1], "#")
			target := page
			if file != "" {
				target = filepath.Join(filepath.Dir(page), file)
			}
			linked, err := os.ReadFile(target)
			if info, failed := os.Stat(target); failed == nil && info.IsDir() && section == "" {
				continue
			}
			if err != nil {
				t.Errorf("%s leads to %s: %v", page, found[1], err)
				continue
			}
			if section != "" &&
				!slices.ContainsFunc(sectionsOf(fenced.ReplaceAllString(string(linked), "")), func(s docSection) bool {
					return anchor(s.title) == section
				}) {
				t.Errorf("%s leads to %s, which has no such section", page, found[1])
			}
		}
	}
}

// TestTestsInDocs looks for the tests that the documentation names: a promise whose test
// is gone is a promise no more.
func TestTestsInDocs(t *testing.T) {
	there, function := make(map[string]bool), regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, found := range function.FindAllStringSubmatch(string(text), -1) {
			there[found[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`\bTest[A-Z]\w+`)
	for _, page := range append(pages, "README.md", "SECURITY.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range named.FindAllString(string(text), -1) {
			if !there[name] {
				t.Errorf("%s names %s, and there is no such test", page, name)
			}
		}
	}
}

// anchor is the name that a heading has in an address.
func anchor(title string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, title)
}
