package portal

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
)

// twinForm is the form that edits a twin.
type twinForm struct {
	Hub, DeviceID string
	Base          string // tells the desired properties and tags that the form was made with
	Desired, Tags string
	Reported      string
	Version       int64
	ModelID       string // of IoT Plug and Play, "" when the device announces none
	Problem       *fault.Error
	JSON          map[string]*jsonProblem
	Conflict      []difference // somebody else saved meanwhile

	etag string
}

// difference is how a part of what was typed differs from what is stored.
type difference struct {
	Name  string
	Lines []diffLine
}

func showTwin(c *call) error {
	h, err := c.hub()
	if err != nil {
		return err
	}
	return c.show("twin", nil, func() (any, error) { return c.storedTwin(h) })
}

// storedTwin is the form filled in with what is stored.
func (c *call) storedTwin(h *hub.Hub) (twinForm, error) {
	id := c.r.PathValue("id")
	twin, err := h.Twin(c.r.Context(), id)
	if err != nil {
		return twinForm{}, err
	}
	form := twinForm{
		Hub: h.Name(), DeviceID: id, Version: twin.Version, ModelID: twin.ModelID, etag: twin.ETag,
		Desired: jsonOf(plain(twin.Properties.Desired)), Tags: jsonOf(plain(twin.Tags)), Reported: jsonOf(plain(twin.Properties.Reported)),
	}
	form.Base = hashOf(form.Desired + "\n" + form.Tags)
	return form, nil
}

// plain leaves out what the hub adds to properties.
func plain(properties document.Object) document.Object {
	own := properties.Clone()
	own.Delete("$metadata", "$version")
	return own
}

// readTwinForm takes what was typed, with what is wrong in it, and what is
// stored.
func (c *call) readTwinForm(h *hub.Hub) (typed, stored twinForm, err error) {
	if stored, err = c.storedTwin(h); err != nil {
		return typed, stored, err
	}
	typed = stored
	typed.Base, typed.Desired, typed.Tags = c.value("etag"), c.text("desired"), c.text("tags")
	typed.JSON = map[string]*jsonProblem{}
	for name, text := range map[string]*string{"desired": &typed.Desired, "tags": &typed.Tags} {
		if *text == "" {
			*text = "{}"
		}
		if problem := checkJSON(*text, nil); problem != nil {
			typed.JSON[name] = problem
		}
	}
	return typed, stored, nil
}

func typedTwin(c *call) error {
	h, err := c.hub()
	if err != nil {
		return err
	}
	typed, _, err := c.readTwinForm(h)
	if err != nil {
		return err
	}
	return c.render(http.StatusOK, "twin", typed)
}

// saveTwin writes desired properties and tags, if no other operator wrote them
// meanwhile. What the device reports meanwhile is no obstacle.
func saveTwin(c *call) error {
	h, err := c.hub()
	if err != nil {
		return err
	}
	typed, stored, err := c.readTwinForm(h)
	if err != nil {
		return err
	}
	if len(typed.JSON) > 0 {
		return c.render(http.StatusBadRequest, "twin", typed)
	}
	body := fmt.Appendf(nil, `{"tags":%s,"properties":{"desired":%s}}`, typed.Tags, typed.Desired)
	for typed.Base == stored.Base {
		_, err := h.ReplaceTwin(c.r.Context(), typed.DeviceID, body, stored.etag)
		switch {
		case err == nil:
			c.say("ok", c.language.T("The twin was saved. A connected device has been told of its desired properties"))
			return c.redirect(devicePath(h, typed.DeviceID) + "/twin")
		case errors.Is(err, fault.PreconditionFailed):
			if stored, err = c.storedTwin(h); err != nil {
				return err
			}
			continue
		}
		if typed.Problem = fault.From(err); typed.Problem.Code.Status() >= 500 {
			return err
		}
		return c.render(typed.Problem.Code.Status(), "twin", typed)
	}
	typed.Problem = fault.New(fault.PreconditionFailed, "Somebody else changed the twin since you opened it. Nothing was saved. Below is how it differs from what you typed")
	for _, part := range []struct{ name, stored, typed string }{
		{"Desired properties", stored.Desired, typed.Desired},
		{"Tags", stored.Tags, typed.Tags},
	} {
		if pretty := indent([]byte(part.typed)); pretty != part.stored {
			typed.Conflict = append(typed.Conflict, difference{part.name, diffLines(part.stored, pretty)})
		}
	}
	typed.Base = stored.Base
	return c.render(typed.Problem.Code.Status(), "twin", typed)
}

// inspectObject tells at once what is wrong with a part of a twin.
func inspectObject(c *call) error {
	name := c.query("which")
	if name != "tags" {
		name = "desired"
	}
	var problem *jsonProblem
	if text := c.text(name); text != "" {
		problem = checkJSON(text, nil)
	}
	return c.renderPart("twin", "json-problem", map[string]any{"Name": name, "Problem": problem})
}
