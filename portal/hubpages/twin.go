package hubpages

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/portal/web"
)

// twinForm is the form that edits the twin of a device or module.
type twinForm struct {
	subject
	Base          string // tells the desired properties and tags that the form was made with
	Desired, Tags string
	Reported      string
	Version       int64
	ModelID       string // of IoT Plug and Play, "" when the device announces none
	Problem       *fault.Error
	JSON          map[string]*web.JSONProblem
	Conflict      []difference // somebody else saved meanwhile

	etag string
}

// difference is how a part of what was typed differs from what is stored.
type difference struct {
	Name  string
	Lines []web.DiffLine
}

func (p *Pages) showTwin(c *web.Call) error {
	h, of, err := p.subject(c)
	if err != nil {
		return err
	}
	return c.Show("twin", nil, func() (any, error) { return p.storedTwin(c, h, of) })
}

// storedTwin is the form filled in with what is stored.
func (p *Pages) storedTwin(c *web.Call, h *hub.Hub, of subject) (twinForm, error) {
	twin, err := h.Twin(c.Context(), of.ID())
	if err != nil {
		return twinForm{}, err
	}
	form := twinForm{
		subject:  of,
		Version:  twin.Version,
		ModelID:  twin.ModelID,
		etag:     twin.ETag,
		Desired:  web.FormatJSON(withoutMetadata(twin.Properties.Desired)),
		Tags:     web.FormatJSON(withoutMetadata(twin.Tags)),
		Reported: web.FormatJSON(withoutMetadata(twin.Properties.Reported)),
	}
	form.Base = digest(form.Desired + "\n" + form.Tags)
	return form, nil
}

// digest is a text in short, to compare.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// withoutMetadata leaves out what the hub adds to properties.
func withoutMetadata(properties document.Object) document.Object {
	own := properties.Clone()
	own.Delete("$metadata", "$version")
	return own
}

// readTwinForm takes what was typed, with what is wrong in it, and what is
// stored.
func (p *Pages) readTwinForm(c *web.Call, h *hub.Hub, of subject) (typed, stored twinForm, err error) {
	if stored, err = p.storedTwin(c, h, of); err != nil {
		return typed, stored, err
	}
	typed = stored
	typed.Base, typed.Desired, typed.Tags = c.Value("etag"), c.Text("desired"), c.Text("tags")
	typed.JSON = map[string]*web.JSONProblem{}
	for name, text := range map[string]*string{"desired": &typed.Desired, "tags": &typed.Tags} {
		if *text == "" {
			*text = "{}"
		}
		if problem := web.CheckJSON(*text, nil); problem != nil {
			typed.JSON[name] = problem
		}
	}
	return typed, stored, nil
}

func (p *Pages) restoreTwin(c *web.Call) error {
	h, of, err := p.subject(c)
	if err != nil {
		return err
	}
	typed, _, err := p.readTwinForm(c, h, of)
	if err != nil {
		return err
	}
	return c.Render(http.StatusOK, "twin", typed)
}

// saveTwin writes desired properties and tags, if no other operator wrote them
// meanwhile. What the device reports meanwhile is no obstacle.
func (p *Pages) saveTwin(c *web.Call) error {
	h, of, err := p.subject(c)
	if err != nil {
		return err
	}
	typed, stored, err := p.readTwinForm(c, h, of)
	if err != nil {
		return err
	}
	if len(typed.JSON) > 0 {
		return c.Render(http.StatusBadRequest, "twin", typed)
	}
	body := fmt.Appendf(nil, `{"tags":%s,"properties":{"desired":%s}}`, typed.Tags, typed.Desired)
	for typed.Base == stored.Base {
		_, err := h.ReplaceTwin(c.Context(), of.ID(), body, stored.etag)
		switch {
		case err == nil:
			c.Notify("ok", c.T("The twin was saved. A connected device has been told of its desired properties"))
			return c.Redirect(of.Path() + "/twin")
		case errors.Is(err, fault.PreconditionFailed):
			if stored, err = p.storedTwin(c, h, of); err != nil {
				return err
			}
			continue
		}
		if typed.Problem = fault.From(err); typed.Problem.Code.Status() >= 500 {
			return err
		}
		return c.Render(typed.Problem.Code.Status(), "twin", typed)
	}
	typed.Problem = fault.New(fault.PreconditionFailed,
		"Somebody else changed the twin since you opened it. Nothing was saved. "+
			"Below is how it differs from what you typed")
	for _, part := range []struct{ name, stored, typed string }{
		{"Desired properties", stored.Desired, typed.Desired},
		{"Tags", stored.Tags, typed.Tags},
	} {
		if pretty := web.IndentJSON([]byte(part.typed)); pretty != part.stored {
			typed.Conflict = append(typed.Conflict, difference{part.name, web.DiffLines(part.stored, pretty)})
		}
	}
	typed.Base = stored.Base
	return c.Render(typed.Problem.Code.Status(), "twin", typed)
}

// inspectJSON tells at once what is wrong with a part of a twin or a patch of one, or with the
// payload of a method.
func (p *Pages) inspectJSON(c *web.Call) error {
	name := c.Query("which")
	var problem *web.JSONProblem
	switch text := c.Text(name); {
	case name != "tags" && name != "desired" && name != "payload" && name != "twin":
		return fault.New(fault.ArgumentInvalid, "There is no field %.64q", name)
	case text == "":
	case name == "payload":
		_, problem = web.ParseJSON(text)
	case name == "twin":
		problem = web.CheckJSON(text, twinPatch)
	default:
		problem = web.CheckJSON(text, nil)
	}
	return c.RenderPart("twin", "json-problem", map[string]any{"Name": name, "Problem": problem})
}
