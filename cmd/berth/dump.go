package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/cmd/berth/hubcmd"
	"github.com/berth-iot/berth/hub/telemetry"
	"github.com/berth-iot/berth/server"
)

func (c *program) dataDump() *cobra.Command {
	command := cli.Parent(&cobra.Command{
		Use:   "dump",
		Short: "Print what a stopped server has stored, record by record",
	})
	command.AddCommand(c.dumpDocuments(), c.dumpLog())
	return command
}

// dumpedDocument is a document as berth data dump documents prints it.
type dumpedDocument struct {
	Collection string `json:"collection"`
	Key        string `json:"key"`
	ETag       string `json:"etag"`
	Bytes      int    `json:"bytes"` // of the value
	*dumpedValue
}

// String is the document in a line.
func (d dumpedDocument) String() string {
	line := fmt.Sprintf("%s  %s  %s  %d bytes", cli.Printable(d.Collection), cli.Printable(d.Key), d.ETag, d.Bytes)
	if d.dumpedValue == nil {
		return line
	}
	return line + "  " + d.dumpedValue.String()
}

// dumpedValue is what was stored: as JSON where it is that, else in base64.
type dumpedValue struct {
	Value  json.RawMessage `json:"value,omitempty"`
	Base64 []byte          `json:"valueBase64,omitempty"`
}

func newDumpedValue(value []byte) *dumpedValue {
	if json.Valid(value) {
		return &dumpedValue{Value: value}
	}
	return &dumpedValue{Base64: value}
}

func (v *dumpedValue) String() string {
	if v.Value != nil {
		return cli.Printable(cli.CompactJSON(v.Value))
	}
	return base64.StdEncoding.EncodeToString(v.Base64)
}

func (c *program) dumpDocuments() *cobra.Command {
	var collection, prefix string
	var showSecrets bool
	var most int
	command := &cobra.Command{
		Use:   "documents",
		Short: "Print the documents: enrollments, devices, twins, policies and all else that has a key",
		Long: `Prints a line for each document that a stopped server has stored: collection, key,
ETag and size. With --show-secrets its value follows, in which keys are as they are
stored. With -o json each line is an object. It changes nothing.`,
		Example: `  berth data dump documents --data /var/lib/berth
  berth data dump documents --collection provisioning/enrollments --show-secrets -o json | jq .value`,
		Args: cli.ExactArgs(),
		RunE: func(command *cobra.Command, _ []string) error {
			lines := c.dumpLines(most)
			err := server.DumpDocuments(command.Context(), c.Target.DataDir(), collection, prefix,
				func(document server.StoredDocument) error {
					line := dumpedDocument{document.Collection, document.Key, document.ETag, len(document.Value), nil}
					if showSecrets {
						line.dumpedValue = newDumpedValue(document.Value)
					}
					return lines.print(line)
				})
			if err == nil && collection != "" && lines.printed == 0 {
				err = c.tellCollections(command.Context(), collection)
			}
			return lines.end(err)
		},
	}
	flags := command.Flags()
	flags.StringVar(&collection, "collection", "",
		"only documents of this `collection`, such as provisioning/enrollments")
	flags.StringVar(&prefix, "prefix", "", "only documents whose keys start with this `text`")
	flags.BoolVar(&showSecrets, "show-secrets", false, "print the values too, with the keys in them")
	cli.MaxFlag(command, &most, 0)
	return command
}

// tellCollections says on standard error which collections have documents, when the wanted
// one has none. It is no failure: a collection without documents is not there.
func (c *program) tellCollections(ctx context.Context, wanted string) error {
	var found []string // in order, as the documents are
	err := server.DumpDocuments(ctx, c.Target.DataDir(), "", "", func(document server.StoredDocument) error {
		if len(found) == 0 || found[len(found)-1] != document.Collection {
			found = append(found, document.Collection)
		}
		return nil
	})
	if err == nil && !slices.Contains(found, wanted) {
		fmt.Fprintf(c.Stderr, "berth: there are no documents in the collection %q, but in: %s\n", wanted,
			strings.Join(found, ", "))
	}
	return err
}

// dumpedRecord is a record of a log as berth data dump log prints it.
type dumpedRecord struct {
	Partition int                `json:"partition"`
	Sequence  int64              `json:"sequence"`
	Offset    int64              `json:"offset"`
	Time      time.Time          `json:"time"`
	Message   *telemetry.Message `json:"message,omitempty"` // in place of the value
	*dumpedValue
}

// String is the record in a line.
func (r dumpedRecord) String() string {
	line := fmt.Sprintf("%d  %d  %s  ", r.Partition, r.Sequence, cli.FormatMillis(r.Time))
	if r.Message != nil {
		return line + hubcmd.DescribeMessage(*r.Message)
	}
	return line + r.dumpedValue.String()
}

func (c *program) dumpLog() *cobra.Command {
	most := 0
	command := &cobra.Command{
		Use:   "log NAME",
		Short: "Print the records of a log, in the order in which they were written",
		Long: `Prints a line for each record of a log of a stopped server: partition, sequence, time,
and what it says: a message as berth telemetry tail shows it, an attempt to register in
JSON, anything else in base64. With -o json each line is an object. It changes nothing,
passes over what is damaged, and ends with exit code 3 then.`,
		Example: `  berth data dump log provisioning.attempts --data /var/lib/berth
  berth data dump log hub.berth.telemetry -o json | jq .message.body`,
		Args: cli.ExactArgs("NAME"),
		RunE: func(command *cobra.Command, args []string) error {
			lines := c.dumpLines(most)
			return lines.end(server.DumpLog(command.Context(), c.Target.DataDir(), args[0],
				func(record server.StoredRecord) error {
					line := dumpedRecord{Partition: record.Partition, Sequence: record.Sequence, Offset: record.Offset,
						Time: record.Time, Message: record.Message}
					if line.Message == nil {
						line.dumpedValue = newDumpedValue(record.Value)
					}
					return lines.print(line)
				}))
		},
	}
	cli.MaxFlag(command, &most, 0)
	return command
}

// dumpLines prints a dump as it is read.
type dumpLines struct {
	out     *bufio.Writer
	objects *json.Encoder // nil for people
	most    int           // lines; 0 is all
	printed int
}

func (c *program) dumpLines(most int) *dumpLines {
	lines := &dumpLines{out: bufio.NewWriter(c.Stdout), most: most}
	if c.Output == cli.JSON {
		lines.objects = json.NewEncoder(lines.out)
		lines.objects.SetEscapeHTML(false)
	}
	return lines
}

// errEnough ends a dump that has printed as many lines as it may.
var errEnough = errors.New("no more is wanted")

// print prints what was read, as an object or as a line for people, and returns errEnough
// when no more is wanted.
func (l *dumpLines) print(read fmt.Stringer) (err error) {
	if l.objects != nil {
		err = l.objects.Encode(read)
	} else {
		_, err = fmt.Fprintln(l.out, read)
	}
	if err != nil {
		return err
	}
	if l.printed++; l.printed == l.most {
		return errEnough
	}
	return nil
}

// end ends a dump that was read up to an error.
func (l *dumpLines) end(err error) error {
	if flushed := l.out.Flush(); flushed != nil {
		if cli.ReaderGone(flushed) {
			return nil
		}
		return fmt.Errorf("print the dump: %w", flushed)
	}
	if errors.Is(err, errEnough) {
		return nil
	}
	return anotherFolder(err)
}
