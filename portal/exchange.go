package portal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/exchange"
)

var exchangeRoutes = map[string]handler{
	"GET enrollments/exchange": reading(exchangePageOf("enrollments")),
	"GET enrollments/export":   reading(exportEnrollments),
	"GET groups/exchange":      reading(exchangePageOf("groups")),
	"GET groups/export":        reading(exportGroups),
	"GET imports/{id}":         reading(showImport),
}

// uploadRoutes take a file of any size, by their paths. Their forms are not read into
// memory.
var uploadRoutes = map[string]func(*call, *upload) error{
	"enrollments/exchange": importEnrollments,
	"groups/exchange":      importGroups,
}

// exchangePage is where things are exported and imported.
type exchangePage struct {
	Kind    string // enrollments or groups, which is the path of their list too
	Modes   any
	Columns []string // of CSV, of enrollments
	Mode    string
	Hubs    string // pairs OLD=NEW, one a line
	Problem *fault.Error
}

// importModes are the choices of what is done with what a file holds.
var importModes = []struct {
	Value exchange.Mode
	Text  string
}{
	{exchange.Create, "Create: leave alone what is there already"},
	{exchange.Update, "Update: replace what is there, and create nothing"},
	{exchange.Upsert, "Create, and replace what is there"},
}

func exchangePageOf(kind string) handler {
	return func(c *call) error { return c.showExchange(http.StatusOK, kind, string(exchange.Create), nil) }
}

func (c *call) showExchange(status int, kind, mode string, problem *fault.Error) error {
	page := exchangePage{Kind: kind, Modes: importModes, Mode: mode, Hubs: c.value("hubs"), Problem: problem}
	if kind == "enrollments" {
		page.Columns = exchange.Columns
	}
	return c.render(status, "exchange", page)
}

// exportStride is how many things are read at once.
const exportStride = 500

func exportEnrollments(c *call) error {
	format, err := exchange.FormatOf(c.query("format"), "")
	if err != nil {
		return err
	}
	service, keys := c.config.Provisioning, c.asksFor("keys")
	writer := exchange.NewWriter(c.download("enrollments", format), format)
	return send(c, writer, service.Enrollments, func(ctx context.Context, e *provisioning.Enrollment) (err error) {
		if keys && e.Attestation.SymmetricKey != nil {
			e.Attestation, err = service.AttestationMechanism(ctx, e.RegistrationID)
		}
		return err
	})
}

func exportGroups(c *call) error {
	service, keys := c.config.Provisioning, c.asksFor("keys")
	writer := exchange.NewGroupWriter(c.download("enrollment-groups", exchange.JSON))
	return send(c, writer, service.Groups, func(ctx context.Context, g *provisioning.EnrollmentGroup) (err error) {
		if keys || g.Attestation.X509 != nil { // the certificates are needed whole
			g.Attestation, err = service.GroupAttestationMechanism(ctx, g.EnrollmentGroupID)
		}
		return err
	})
}

// download begins an answer that is a file.
func (c *call) download(name string, format exchange.Format) io.Writer {
	kind := "application/json; charset=utf-8"
	if format == exchange.CSV {
		kind = "text/csv; charset=utf-8; header=present"
	}
	c.answered = true
	c.w.Header().Set("Content-Type", kind)
	c.w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%s.%s", name, format))
	return c.w
}

// send writes all of a list to a file that is being downloaded. When that fails the
// connection ends, so that nobody takes a part for the whole.
func send[T any](c *call, writer exchange.Writer[T], list func(ctx context.Context, prefix, after string, limit int) ([]T, string, error), complete func(context.Context, *T) error) error {
	ctx, controller := c.r.Context(), http.NewResponseController(c.w)
	page := func(after string) (next string, err error) {
		if err := controller.SetWriteDeadline(time.Now().Add(formTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return "", err
		}
		items, next, err := list(ctx, "", after, exportStride)
		for i := range items {
			if err == nil {
				err = complete(ctx, &items[i])
			}
			if errors.Is(err, fault.EnrollmentNotFound) || errors.Is(err, fault.GroupNotFound) {
				err = nil // it was deleted meanwhile
				continue
			}
			if err == nil {
				err = writer.Write(items[i])
			}
		}
		return next, err
	}
	next, err := page("")
	for err == nil && next != "" {
		next, err = page(next)
	}
	if err == nil {
		err = writer.Close()
	}
	if err != nil {
		level := slog.LevelError
		if ctx.Err() != nil {
			level = slog.LevelInfo // the browser has gone
		}
		c.config.Logger.Log(ctx, level, "portal export cut off", "path", c.r.URL.Path, "error", err)
		panic(http.ErrAbortHandler)
	}
	return nil
}

func importEnrollments(c *call, file *upload) error {
	return startImport(c, file, "enrollments", importOf[provisioning.Enrollment]{
		read: func(reader io.Reader, each func(exchange.Row[provisioning.Enrollment]) error) error {
			return exchange.ReadEnrollments(reader, file.format, each)
		},
		id:     func(e provisioning.Enrollment) string { return e.RegistrationID },
		fit:    file.origin.Enrollments,
		create: c.config.Provisioning.CreateEnrollment,
		put:    c.config.Provisioning.PutEnrollment,
	})
}

func importGroups(c *call, file *upload) error {
	if file.format == exchange.CSV {
		return fault.New(fault.ArgumentInvalid, "Groups are imported as JSON only")
	}
	return startImport(c, file, "groups", importOf[provisioning.EnrollmentGroup]{
		read:   exchange.ReadGroups,
		id:     func(g provisioning.EnrollmentGroup) string { return g.EnrollmentGroupID },
		fit:    file.origin.Groups,
		create: c.config.Provisioning.CreateGroup,
		put:    c.config.Provisioning.PutGroup,
	})
}
