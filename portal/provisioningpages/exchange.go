package provisioningpages

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/exchange"
)

func (p *Pages) exchangeRoutes() web.Routes {
	return web.Routes{
		"GET enrollments/exchange": web.RequireSession(p.exchangePageOf("enrollments")),
		"GET enrollments/export":   web.RequireSession(p.exportEnrollments),
		"GET groups/exchange":      web.RequireSession(p.exchangePageOf("groups")),
		"GET groups/export":        web.RequireSession(p.exportGroups),
		"GET imports/{id}":         web.RequireSession(p.showImport),
	}
}

// uploads are the forms that take a file of any size, by their paths.
func (p *Pages) uploads() web.Routes {
	return web.Routes{
		"enrollments/exchange": web.RequireUpload(p.explainImport("enrollments"), p.importEnrollments),
		"groups/exchange":      web.RequireUpload(p.explainImport("groups"), p.importGroups),
	}
}

// explainImport shows the form of an import again, with what was wrong.
func (p *Pages) explainImport(kind string) func(*web.Call, *fault.Error) error {
	return func(c *web.Call, problem *fault.Error) error {
		return p.showExchange(c, problem.Code.Status(), kind, c.Value("mode"), problem)
	}
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

func (p *Pages) exchangePageOf(kind string) web.Handler {
	return func(c *web.Call) error { return p.showExchange(c, http.StatusOK, kind, string(exchange.Create), nil) }
}

func (p *Pages) showExchange(c *web.Call, status int, kind, mode string, problem *fault.Error) error {
	page := exchangePage{Kind: kind, Modes: importModes, Mode: mode, Hubs: c.Value("hubs"), Problem: problem}
	if kind == "enrollments" {
		page.Columns = exchange.Columns
	}
	return c.Render(status, "exchange", page)
}

const (
	exportStride  = 500         // things that are read at once
	exportTimeout = time.Minute // that a browser may take for them
)

func (p *Pages) exportEnrollments(c *web.Call) error {
	format, err := exchange.FormatOf(c.Query("format"), "")
	if err != nil {
		return err
	}
	service, keys := p.Provisioning, c.ShowsSecret("keys")
	writer := exchange.NewWriter(download(c, "enrollments", format), format)
	return export(c, writer, service.Enrollments().List, func(ctx context.Context, e *enroll.Enrollment) (err error) {
		if keys && e.Attestation.SymmetricKey != nil {
			e.Attestation, err = service.Enrollments().AttestationMechanism(ctx, e.RegistrationID)
		}
		return err
	})
}

func (p *Pages) exportGroups(c *web.Call) error {
	service, keys := p.Provisioning, c.ShowsSecret("keys")
	writer := exchange.NewGroupWriter(download(c, "enrollment-groups", exchange.JSON))
	return export(c, writer, service.Groups().List, func(ctx context.Context, g *enroll.Group) (err error) {
		if keys || g.Attestation.X509 != nil { // the certificates are needed whole
			g.Attestation, err = service.Groups().AttestationMechanism(ctx, g.EnrollmentGroupID)
		}
		return err
	})
}

// download begins an answer that is a file.
func download(c *web.Call, name string, format exchange.Format) io.Writer {
	kind := "application/json; charset=utf-8"
	if format == exchange.CSV {
		kind = "text/csv; charset=utf-8; header=present"
	}
	return c.Download(kind, fmt.Sprintf("%s.%s", name, format))
}

// export writes all of a list to a file that is being downloaded. When that fails the
// connection ends, so that nobody takes a part for the whole.
func export[T any](
	c *web.Call,
	writer exchange.Writer[T],
	list func(ctx context.Context, prefix, after string, limit int) ([]T, string, error),
	complete func(context.Context, *T) error,
) error {
	ctx, controller := c.Context(), http.NewResponseController(c.Writer)
	page := func(after string) (next string, err error) {
		if err := controller.SetWriteDeadline(time.Now().Add(exportTimeout)); err != nil &&
			!errors.Is(err, http.ErrNotSupported) {
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
		c.Logger().Log(ctx, level, "portal export cut off", "path", c.Request.URL.Path, "error", err)
		panic(http.ErrAbortHandler)
	}
	return nil
}

func (p *Pages) importEnrollments(c *web.Call, file *web.Upload) error {
	job, err := newImport(c, "enrollments", file)
	if err != nil {
		return err
	}
	return startImport(c, job, importer[enroll.Enrollment]{
		read: func(reader io.Reader, each func(exchange.Row[enroll.Enrollment]) error) error {
			return exchange.ReadEnrollments(reader, job.format, each)
		},
		id:     func(e enroll.Enrollment) string { return e.RegistrationID },
		adapt:  job.origin.Enrollments,
		create: p.Provisioning.Enrollments().Create,
		put:    p.Provisioning.Enrollments().Put,
	})
}

func (p *Pages) importGroups(c *web.Call, file *web.Upload) error {
	job, err := newImport(c, "groups", file)
	if err != nil {
		return err
	}
	if job.format == exchange.CSV {
		return fault.New(fault.ArgumentInvalid, "Groups are imported as JSON only")
	}
	return startImport(c, job, importer[enroll.Group]{
		read:   exchange.ReadGroups,
		id:     func(g enroll.Group) string { return g.EnrollmentGroupID },
		adapt:  job.origin.Groups,
		create: p.Provisioning.Groups().Create,
		put:    p.Provisioning.Groups().Put,
	})
}
