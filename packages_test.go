package berth

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestPackageComments: each package says what it is about in one comment, in one file,
// that begins as godoc wants it. A package of tests only needs none.
func TestPackageComments(t *testing.T) {
	comments := make(map[string][]string) // the files with one, by folder
	names := make(map[string]string)
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name := entry.Name(); path != "." &&
				(strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		folder := filepath.ToSlash(filepath.Dir(path))
		names[folder] = file.Name.Name
		if file.Doc != nil {
			comments[folder] = append(comments[folder], path)
			checkPackageComment(t, path, file)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for folder := range names {
		if found := comments[folder]; len(found) != 1 {
			t.Errorf("%s has %d package comments, in %v: it must have one", folder, len(found), found)
		}
	}
}

func checkPackageComment(t *testing.T, path string, file *ast.File) {
	t.Helper()
	want := "Package " + file.Name.Name + " "
	if file.Name.Name == "main" {
		want = "Command " + filepath.Base(filepath.Dir(path)) + " "
	}
	if text := file.Doc.Text(); !strings.HasPrefix(text, want) {
		t.Errorf("the package comment in %s begins with %.40q, and must with %q", path, text, want)
	}
}

// TestPackageExamples: the packages that others write against show a newcomer what to
// copy, and what they show runs with the tests.
func TestPackageExamples(t *testing.T) {
	for _, folder := range []string{"berthtest", "device", "backend", "wire/mqtt", "store"} {
		examples, err := examplesOf(folder)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(examples, func(e *doc.Example) bool { return e.Name == "" }) {
			t.Errorf("%s has no Example of the whole package", folder)
		}
		if len(examples) < 2 {
			t.Errorf("%s has no example of one of its functions", folder)
		}
		for _, example := range examples {
			if example.Output == "" {
				t.Errorf("Example%s of %s has no output, so that it is never run", example.Name, folder)
			}
		}
	}
}

// examplesOf reads the examples of a package that are written as those who import it do.
func examplesOf(folder string) ([]*doc.Example, error) {
	paths, err := filepath.Glob(filepath.Join(folder, "example*_test.go"))
	if err != nil {
		return nil, err
	}
	var files []*ast.File
	for _, path := range paths {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		if strings.HasSuffix(file.Name.Name, "_test") {
			files = append(files, file)
		}
	}
	return doc.Examples(files...), nil
}
