package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// commandLine is a command line in a text: at its beginning, in another command, or after
// one.
var commandLine = regexp.MustCompile(`(?:^|[(|&;] ?)(berth(?: [^|<>&;)…]*)?)`)

// TestCommandsInDocs holds the command lines of the documentation, and of the examples in
// the help, against the commands and flags that there are.
func TestCommandsInDocs(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	check := func(where, line string, whole bool) {
		for _, found := range commandLine.FindAllStringSubmatch(line, -1) {
			tried++
			if wrong := wrongIn(found[1], whole); wrong != "" {
				t.Errorf("%s has %q: %s", where, found[1], wrong)
			}
		}
	}
	span := regexp.MustCompile("`(berth [^`]+)`")
	for _, page := range append(pages, "../../README.md", "../../SECURITY.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		language, prose := "", ""
		for line := range strings.Lines(string(text)) {
			line = strings.TrimRight(line, "\n")
			if fence, ok := strings.CutPrefix(line, "```"); ok {
				language = fence
				continue
			}
			code, indented := strings.CutPrefix(line, "    ")
			switch {
			case language == "sh":
				check(page, line, true)
			case language == "" && indented:
				check(page, code, !strings.Contains(code, "   ")) // else with an explanation
			case language == "":
				prose += line + " "
			}
		}
		for _, found := range span.FindAllStringSubmatch(prose, -1) {
			check(page, strings.Join(strings.Fields(found[1]), " "), false)
		}
	}
	for _, command := range leaves((&program{}).root()) {
		for line := range strings.Lines(strings.ReplaceAll(command.Example, "\\\n", "")) {
			check("the help of "+command.CommandPath(), strings.TrimSpace(line), true)
		}
	}
	if tried < 200 {
		t.Errorf("only %d command lines were found", tried)
	}
}

// wrongIn is what is wrong with a command line, "" for nothing. One that is not whole may
// lack arguments.
func wrongIn(line string, whole bool) string {
	words := shellWords(line)[1:]
	root := (&program{}).root()
	command, rest, err := root.Find(words)
	if err != nil {
		return err.Error()
	}
	if whole {
		if err := command.ParseFlags(rest); err != nil && err != pflag.ErrHelp {
			return err.Error()
		}
		if err := command.ValidateArgs(command.Flags().Args()); err != nil {
			return err.Error()
		}
		return ""
	}
	if command.HasSubCommands() && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") && !isName(rest[0]) {
		return "there is no such command"
	}
	for _, word := range rest {
		name, _, _ := strings.Cut(word, "=")
		if name, long := strings.CutPrefix(name, "--"); long && !takesFlag(command, name) {
			return "there is no such flag"
		}
	}
	return ""
}

// isName reports whether a word stands for others in a text: ID or NAME, or an
// explanation.
func isName(word string) bool { return strings.ToUpper(word) == word }

func takesFlag(command *cobra.Command, name string) bool {
	command.InitDefaultHelpFlag()
	command.InitDefaultVersionFlag()
	return command.Flags().Lookup(name) != nil || command.InheritedFlags().Lookup(name) != nil
}

// shellWords are the words of a command line, without their quotes.
func shellWords(line string) (words []string) {
	var word strings.Builder
	quote, begun := rune(0), false
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote, begun = r, true
		case quote == 0 && r == ' ':
			if begun || word.Len() > 0 {
				words = append(words, word.String())
			}
			word.Reset()
			begun = false
		default:
			word.WriteRune(r)
		}
	}
	if begun || word.Len() > 0 {
		words = append(words, word.String())
	}
	return words
}

// TestFilesInDocs holds every Go file that documentation names by its path against the
// tree.
func TestFilesInDocs(t *testing.T) {
	root := filepath.Join("..", "..")
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	decisions, err := filepath.Glob(filepath.Join(root, "docs", "decisions", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	tried, file := 0, regexp.MustCompile("`([a-z][a-z/]*/[a-z_]+\\.go)`")
	for _, page := range slices.Concat(pages, decisions, []string{filepath.Join(root, "README.md"),
		filepath.Join(root, "CONTRIBUTING.md"), filepath.Join(root, "store", "segment", "README.md")}) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range file.FindAllStringSubmatch(string(text), -1) {
			tried++
			if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(found[1]))); err != nil {
				t.Errorf("%s names %s, which is not there", page, found[1])
			}
		}
	}
	if tried < 20 {
		t.Errorf("only %d files were found in documentation: the test does not read it", tried)
	}
}
