package main

import (
	_ "embed"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/cmd/berth/cli"
)

// build is what a binary was built from.
type build struct {
	Version  string `json:"version"`          // of the module; development in a checkout
	Commit   string `json:"commit,omitempty"` // in full
	Date     string `json:"date,omitempty"`   // of the commit, RFC 3339
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
}

// commit and date are set by `make build` with -ldflags, for a Go that looks for no
// version control (-buildvcs=false) or has none to look with.
var commit, date string

// archived is the commit and its date in an archive that git made (.gitattributes), as a
// release's source is; in a checkout it is a placeholder.
//
//go:embed archived.txt
var archived string

// builtFrom says what this binary was built from. A commit is named by whoever is
// nearest to it: the one who linked, Go's own stamp, the archive.
func builtFrom() build {
	found := build{Version: "development", Commit: commit, Date: date}
	if info, ok := debug.ReadBuildInfo(); ok {
		found.Go = info.GoVersion
		if v := info.Main.Version; v != "" && v != "(devel)" {
			found.Version = v
		}
		for _, setting := range info.Settings {
			switch {
			case setting.Key == "vcs.revision" && commit == "":
				found.Commit = setting.Value
			case setting.Key == "vcs.time" && commit == "":
				found.Date = setting.Value
			case setting.Key == "vcs.modified":
				found.Modified = setting.Value == "true"
			}
		}
	}
	hash, at, ok := strings.Cut(strings.TrimSpace(archived), " ")
	if ok && found.Commit == "" && !strings.HasPrefix(hash, "$") {
		found.Commit, found.Date = hash, at
	}
	return found
}

// String is the version in a line, with the commit and its date as far as they are known.
func (b build) String() string {
	text := b.Version
	if b.Commit != "" {
		text += fmt.Sprintf(", commit %.12s of %s", b.Commit, b.Date)
	}
	if b.Modified {
		text += ", with changes"
	}
	return text
}

// versionCommand says the same as --version, which few look for first.
func (c *program) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show which version this is, and the commit that it was built from",
		Args:  cli.ExactArgs(),
		RunE: func(*cobra.Command, []string) error {
			found := builtFrom()
			return c.Print(found, func(w io.Writer) { fmt.Fprintf(w, "berth version %s\n", found) })
		},
	}
}
