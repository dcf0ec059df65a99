package web

import (
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/berth-iot/berth/fault"
)

const (
	maxUpload   = 512 << 20 // bytes of a file
	maxSmall    = 16 << 10  // bytes of a field beside it
	uploadPause = time.Minute
)

// Upload is a file that was sent with a form. It is on disk and belongs to who takes
// it, who closes it.
type Upload struct {
	*os.File
	FileName string // as the browser has it, without folders
	Size     int64  // bytes
}

// Close removes the file.
func (u *Upload) Close() error {
	return errors.Join(u.File.Close(), ignoreGone(os.Remove(u.Name())))
}

func ignoreGone(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// RequireUpload lets operators in whose form was made for their session, with a file
// named "file" of at most 512 MiB. The fields of the form come before the file: what is
// not wanted is not kept. take owns the file when it returns no error. A mistake of the
// one who sent it is shown by explain, in the page of the form.
func RequireUpload(explain func(*Call, *fault.Error) error, take func(*Call, *Upload) error) Handler {
	return func(c *Call) error {
		if c.session == nil {
			c.discardBody()
			return c.Redirect(strings.TrimPrefix(c.Request.URL.Path, Root)) // which asks to log in
		}
		if c.session.Role != Operator {
			c.discardBody()
			return c.refuseReader()
		}
		file, err := c.readUpload()
		if err == nil {
			c.Request = c.Request.WithContext(c.actContext())
			if err = take(c, file); err != nil {
				file.Close()
			}
		}
		var problem *fault.Error
		if errors.As(err, &problem) && problem.Code.Status() < 500 && problem.Code != fault.Forbidden {
			return explain(c, problem)
		}
		return err
	}
}

// discardBody reads what is left of a request, or the browser would not show the answer.
func (c *Call) discardBody() {
	io.Copy(io.Discard, io.LimitReader(c.requestBody(), maxUpload))
}

// requestBody is the body of a request, which may take as long as it goes on coming.
func (c *Call) requestBody() io.Reader {
	return deadlineReader{c.Request.Body, http.NewResponseController(c.Writer)}
}

type deadlineReader struct {
	io.Reader
	controller *http.ResponseController
}

func (r deadlineReader) Read(p []byte) (int, error) {
	if err := r.controller.SetReadDeadline(time.Now().Add(uploadPause)); err != nil &&
		!errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return r.Reader.Read(p)
}

// readUpload reads a form with a file.
func (c *Call) readUpload() (file *Upload, err error) {
	kind, parameters, err := mime.ParseMediaType(c.Request.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" {
		return nil, fault.New(fault.UnsupportedMediaType, "This is not the form of this page")
	}
	defer c.discardBody()
	defer func() {
		if err != nil && file != nil {
			file.Close()
			file = nil
		}
	}()
	c.form = url.Values{}
	for reader := multipart.NewReader(c.requestBody(), parameters["boundary"]); ; {
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
		if file, err = c.save(part); err != nil {
			return file, err
		}
	}
	switch {
	case !c.genuine():
		return file, errNotGenuine()
	case file == nil:
		return nil, fault.New(fault.ArgumentNull, "Choose a file first")
	}
	return file, nil
}

// save writes a file to disk, where nobody else sees it: it may hold keys. Where the
// system allows, it has no name there, and is gone when the process is.
func (c *Call) save(part *multipart.Part) (*Upload, error) {
	kept, err := os.CreateTemp(c.site.config.DataDir, "upload-*") // readable by its owner alone
	if err != nil {
		return nil, err
	}
	file := &Upload{File: kept, FileName: filepath.Base(part.FileName())}
	if err := os.Remove(kept.Name()); err != nil {
		c.Logger().Debug("an upload keeps its name until it is imported", "error", err)
	}
	if file.Size, err = io.Copy(kept, io.LimitReader(part, maxUpload+1)); err != nil {
		return file, fault.New(fault.BadRequest, "The form did not arrive whole").Because(err)
	}
	if file.Size > maxUpload {
		return file, fault.New(fault.MessageTooLarge,
			"The file is larger than %d bytes. berth enrollment import takes one of any size", maxUpload)
	}
	_, err = kept.Seek(0, io.SeekStart)
	return file, err
}
