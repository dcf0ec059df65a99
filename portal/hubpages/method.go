package hubpages

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/method"
	"github.com/berth-iot/berth/portal/web"
)

// methodForm is the form that calls a direct method, with what came of the call.
type methodForm struct {
	subject
	Method          string // its name
	Payload         string // JSON, "" for none
	ConnectTimeout  string // in seconds, as they were typed
	ResponseTimeout string
	Problem         *fault.Error
	JSON            *web.JSONProblem // in Payload
	Answer          *methodAnswer    // nil unless the device answered
}

// methodAnswer is what a device said to a call.
type methodAnswer struct {
	Status  int
	Payload string // JSON, for people
	Took    time.Duration
}

// Milliseconds is how long the answer took, from the call on.
func (a methodAnswer) Milliseconds() int { return int(a.Took.Milliseconds()) }

// MinTimeout, DefaultTimeout and MaxTimeout are the bounds of the form's fields, in seconds.
func (methodForm) MinTimeout() int     { return int(method.MinResponseTimeout.Seconds()) }
func (methodForm) DefaultTimeout() int { return int(method.DefaultResponseTimeout.Seconds()) }
func (methodForm) MaxTimeout() int     { return int(method.MaxTimeout.Seconds()) }

func (p *Pages) showMethod(c *web.Call) error {
	h, of, err := p.subject(c)
	if err != nil {
		return err
	}
	form := methodForm{subject: of, ConnectTimeout: "0"}
	form.ResponseTimeout = strconv.Itoa(form.DefaultTimeout())
	return p.renderMethod(c, h, form)
}

func (p *Pages) restoreMethod(c *web.Call) error {
	h, of, err := p.subject(c)
	if err != nil {
		return err
	}
	return p.renderMethod(c, h, readMethodForm(c, of))
}

// renderMethod answers with the form, or with a fault when whom it is about is not there.
func (p *Pages) renderMethod(c *web.Call, h *hub.Hub, form methodForm) error {
	if _, err := h.Registry().Principal(c.Context(), form.ID()); err != nil {
		return err
	}
	status := http.StatusOK
	switch {
	case form.JSON != nil:
		status = http.StatusBadRequest
	case form.Problem != nil && form.Problem.Code.Status() < 500: // else it is the device that failed, and not the page
		status = form.Problem.Code.Status()
	}
	return c.Render(status, "method", form)
}

func readMethodForm(c *web.Call, of subject) methodForm {
	return methodForm{subject: of, Method: c.Text("name"), Payload: c.Text("payload"),
		ConnectTimeout: c.Text("connectTimeout"), ResponseTimeout: c.Text("responseTimeout")}
}

// call is the method that was typed.
func (f methodForm) call() (call method.Call, err error) {
	call = method.Call{Name: f.Method, Payload: json.RawMessage(f.Payload)}
	if call.ResponseTimeout, err = f.seconds(f.ResponseTimeout, f.MinTimeout()); err != nil {
		return call, err
	}
	if call.ConnectTimeout, err = f.seconds(f.ConnectTimeout, 0); err != nil {
		return call, err
	}
	if call.ConnectTimeout > call.ResponseTimeout {
		return call, fault.New(fault.ArgumentInvalid, "The seconds to wait for a device that is not connected are a part "+
			"of those to wait for the answer. Make these more, or the others fewer")
	}
	return call, nil
}

func (f methodForm) seconds(typed string, least int) (time.Duration, error) {
	n, err := strconv.Atoi(typed)
	if err != nil || n < least || n > f.MaxTimeout() {
		return 0, fault.New(fault.ArgumentInvalid, "The seconds to wait must be a whole number from %d to %d, not %.32q",
			least, f.MaxTimeout(), typed)
	}
	return time.Duration(n) * time.Second, nil
}

// invokeMethod calls a method and waits for its answer, for as long as the browser does.
func (p *Pages) invokeMethod(c *web.Call) error {
	h, of, err := p.subject(c)
	if err != nil {
		return err
	}
	form := readMethodForm(c, of)
	if form.Payload != "" {
		if _, form.JSON = web.ParseJSON(form.Payload); form.JSON != nil {
			return p.renderMethod(c, h, form)
		}
	}
	call, err := form.call()
	if err == nil {
		err = c.Wait(call.ConnectTimeout + call.ResponseTimeout)
	}
	if err == nil {
		form.Answer, err = invoke(c, h, of, call)
	}
	if err != nil {
		if c.Context().Err() != nil {
			return c.Context().Err()
		}
		if form.Problem = fault.From(err); form.Problem.Code == fault.DeviceNotOnline {
			form.Problem = fault.New(fault.DeviceNotOnline, "It is not online: it is not connected, or has not subscribed "+
				"to methods. To wait for it, say below for how many seconds")
		}
	}
	return p.renderMethod(c, h, form)
}

func invoke(c *web.Call, h *hub.Hub, of subject, call method.Call) (*methodAnswer, error) {
	began := time.Now()
	answer, err := h.InvokeMethod(c.Context(), of.ID(), call)
	if err != nil {
		return nil, err
	}
	return &methodAnswer{answer.Status, web.IndentJSON(bytes.TrimSpace(answer.Payload)), time.Since(began)}, nil
}
