package portal

import (
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning/exchange"
)

const (
	maxUpload   = 512 << 20 // bytes of a file
	maxSmall    = 16 << 10  // bytes of a field beside it
	uploadPause = time.Minute
)

// upload is a file that was sent with a form. It is on disk and belongs to who takes
// it.
type upload struct {
	*os.File
	name   string
	size   int64
	format exchange.Format
	mode   exchange.Mode
	dryRun bool // only look at it
	origin exchange.Origin
}

// Close removes the file.
func (u *upload) Close() error {
	return errors.Join(u.File.Close(), ignoreGone(os.Remove(u.Name())))
}

func ignoreGone(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// uploading lets operators in whose form was made for their session, with a file. The
// fields of the form come before the file: what is not wanted is not kept.
func uploading(take func(*call, *upload) error) handler {
	return func(c *call) error {
		kind, _, _ := strings.Cut(strings.TrimPrefix(c.r.URL.Path, Root), "/")
		if c.session == nil {
			c.passOver()
			return c.redirect(kind + "/exchange") // which asks to log in
		}
		if c.session.Role != Operator {
			c.passOver()
			return c.refuseReader()
		}
		file, err := c.readUpload()
		if err == nil {
			c.r = c.r.WithContext(c.asActor())
			if err = take(c, file); err != nil {
				file.Close()
			}
		}
		if problem := (*fault.Error)(nil); errors.As(err, &problem) && problem.Code.Status() < 500 && problem.Code != fault.Forbidden {
			return c.showExchange(problem.Code.Status(), kind, c.value("mode"), problem)
		}
		return err
	}
}

// passOver reads what is left of a request, or the browser would not show the answer.
func (c *call) passOver() {
	io.Copy(io.Discard, io.LimitReader(c.uploaded(), maxUpload))
}

// uploaded is the body of a request, which may take as long as it goes on coming.
func (c *call) uploaded() io.Reader {
	return patientReader{c.r.Body, http.NewResponseController(c.w)}
}

type patientReader struct {
	io.Reader
	controller *http.ResponseController
}

func (r patientReader) Read(p []byte) (int, error) {
	if err := r.controller.SetReadDeadline(time.Now().Add(uploadPause)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return r.Reader.Read(p)
}

// readUpload reads a form with a file.
func (c *call) readUpload() (file *upload, err error) {
	kind, parameters, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" {
		return nil, fault.New(fault.UnsupportedMediaType, "This is not the form of this page")
	}
	defer c.passOver()
	defer func() {
		if err != nil && file != nil {
			file.Close()
			file = nil
		}
	}()
	c.form = url.Values{}
	for reader := multipart.NewReader(c.uploaded(), parameters["boundary"]); ; {
		part, err := reader.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return file, fault.New(fault.BadRequest, "The form did not arrive whole").Because(err)
		}
		if part.FormName() != "file" {
			content, err := io.ReadAll(io.LimitReader(part, maxSmall))
			if err != nil {
				return file, fault.New(fault.BadRequest, "The form did not arrive whole").Because(err)
			}
			c.form.Set(part.FormName(), string(content))
			continue
		}
		if !c.genuine() {
			return file, errNotGenuine()
		}
		if file != nil || part.FileName() == "" {
			continue
		}
		if file, err = c.keep(part); err != nil {
			return file, err
		}
	}
	switch {
	case !c.genuine():
		return file, errNotGenuine()
	case file == nil:
		return nil, fault.New(fault.ArgumentNull, "Choose a file first")
	}
	if file.format, err = exchange.FormatOf("", file.name); err != nil {
		return file, err
	}
	if file.mode, err = exchange.ParseMode(c.value("mode")); err != nil {
		return file, err
	}
	file.dryRun = c.value("check") != ""
	file.origin.IgnoreHubs = c.value("ignoreHubs") != ""
	file.origin.Hubs, err = exchange.ParseHubs(slices.DeleteFunc(strings.Split(c.text("hubs"), "\n"), func(line string) bool { return strings.TrimSpace(line) == "" }))
	return file, err
}

// keep writes a file to disk, where nobody else sees it: it may hold keys. Where the
// system allows, it has no name there, and is gone when the process is.
func (c *call) keep(part *multipart.Part) (*upload, error) {
	kept, err := os.CreateTemp(c.config.DataDir, "upload-*") // readable by its owner alone
	if err != nil {
		return nil, err
	}
	file := &upload{File: kept, name: filepath.Base(part.FileName())}
	if err := os.Remove(kept.Name()); err != nil {
		c.config.Logger.Debug("an upload keeps its name until it is imported", "error", err)
	}
	if file.size, err = io.Copy(kept, io.LimitReader(part, maxUpload+1)); err != nil {
		return file, fault.New(fault.BadRequest, "The form did not arrive whole").Because(err)
	}
	if file.size > maxUpload {
		return file, fault.New(fault.MessageTooLarge, "The file is larger than %d bytes. berth enrollment import takes one of any size", maxUpload)
	}
	_, err = kept.Seek(0, io.SeekStart)
	return file, err
}
