package provisioningpages

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

func (p *Pages) enrollmentRoutes() web.Routes {
	return web.Routes{
		"GET enrollments":              web.RequireSession(p.listEnrollments),
		"GET enrollments/new":          web.RequireSession(p.newEnrollment),
		"POST enrollments/new":         web.RequireOperator(p.restoreEnrollment, p.saveEnrollment),
		"GET enrollment/{id}":          web.RequireSession(p.editEnrollment),
		"POST enrollment/{id}":         web.RequireOperator(p.restoreEnrollment, p.saveEnrollment),
		"POST enrollments/delete":      web.HandleDeletion(p.enrollmentDeletion),
		"POST enrollments/certificate": web.RequireSession(p.inspectCertificate),
		"POST enrollments/twin":        web.RequireSession(p.inspectTwin),
		"POST enrollments/information": web.RequireSession(p.inspectInformation),
	}
}

func (p *Pages) listEnrollments(c *web.Call) error {
	return c.Show("enrollments", nil, func() (any, error) {
		ctx, service := c.Context(), p.Provisioning
		l := web.List[enroll.Enrollment]{
			Position: web.Position{Prefix: c.Query("prefix"), After: c.Query("after")},
		}
		var err error
		if l.Items, l.Next, err = service.Enrollments().List(ctx, l.Prefix, l.After, web.PageSize); err != nil {
			return nil, err
		}
		counts, err := service.Counts(ctx)
		l.Total = counts.Enrollments
		return l, err
	})
}

func (p *Pages) enrollmentDeletion(c *web.Call) (web.Deletion, error) {
	return web.Deletion{
		Back:  "enrollments",
		Title: "Delete %d enrollment?|Delete %d enrollments?",
		Explain: "The devices can't register any more. Those that did stay in their hub, " +
			"and their registration records stay too.",
		Done:   "%d enrollment was deleted|%d enrollments were deleted",
		Gone:   fault.EnrollmentNotFound,
		Record: p.recordDeletion(audit.Enrollment),
		IDs: web.ListIDs(p.Provisioning.Enrollments().List, func(e enroll.Enrollment) string {
			return e.RegistrationID
		}),
		Delete: func(ctx context.Context, id string) error {
			return p.Provisioning.Enrollments().Delete(ctx, id, "")
		},
	}, nil
}

// inspectCertificate tells at once what a certificate says that was chosen,
// dropped or pasted.
func (p *Pages) inspectCertificate(c *web.Call) error {
	which := c.Query("which")
	if !slices.Contains([]string{"primary", "secondary", "certificate", "proof"}, which) {
		which = "primary"
	}
	return c.RenderPart("enrollment", "certificate-report", p.readCertificate(c, which, c.Query("of") == "group"))
}

// inspectTwin tells at once what is wrong with an initial twin.
func (p *Pages) inspectTwin(c *web.Call) error {
	_, problem := readInitialTwin(c.Text("initialTwin"))
	return c.RenderPart("enrollment", "json-problem", map[string]any{"Name": "initialTwin", "Problem": problem})
}

// inspectInformation tells at once what is wrong with a device's information.
func (p *Pages) inspectInformation(c *web.Call) error {
	_, problem := readDeviceInformation(c.Text("deviceInformation"))
	return c.RenderPart("enrollment", "json-problem", map[string]any{"Name": "deviceInformation", "Problem": problem})
}

// enrollmentForm is the form that adds or edits an individual enrollment.
type enrollmentForm struct {
	settingsForm
	RegistrationID string
	DeviceID       string
	Information    string // of the device, for the operator's own use: JSON
	State          *provisioning.Registration
	Stored         enroll.Enrollment

	InformationProblem *web.JSONProblem
}

// invalid reports whether the form must be corrected before it can be sent on.
func (f *enrollmentForm) invalid() bool {
	return f.settingsForm.invalid() || f.InformationProblem != nil
}

func (p *Pages) newEnrollment(c *web.Call) error {
	return p.renderEnrollment(
		c,
		http.StatusOK,
		enrollmentForm{settingsForm: newSettings(false), RegistrationID: c.Query("registrationId")},
	)
}

func (p *Pages) editEnrollment(c *web.Call) error {
	ctx, service, id := c.Context(), p.Provisioning, c.PathValue("id")
	stored, err := service.Enrollments().Get(ctx, id)
	if err != nil {
		return err
	}
	form := enrollmentForm{
		settingsForm:   settingsOf(&stored.Settings, false),
		RegistrationID: stored.RegistrationID,
		DeviceID:       stored.DeviceID,
		Information:    web.IndentJSON(stored.OptionalDeviceInformation),
		State:          stored.RegistrationState,
		Stored:         stored,
	}
	if form.HasKeys && c.ShowsSecret("keys") {
		if form.StoredKeys, err = keysOf(service.Enrollments().AttestationMechanism(ctx, id)); err != nil {
			return err
		}
	}
	return p.renderEnrollment(c, http.StatusOK, form)
}

func (p *Pages) renderEnrollment(c *web.Call, status int, form enrollmentForm) error {
	form.offerHubs(p.Provisioning.Links().Hosts())
	form.nameFields()
	return c.Render(status, "enrollment", form)
}

// readEnrollmentForm takes what was typed, with what is wrong in it.
func (p *Pages) readEnrollmentForm(c *web.Call) (enrollmentForm, error) {
	form := enrollmentForm{settingsForm: p.readSettings(c, false), RegistrationID: c.Text("registrationId"),
		DeviceID: c.Text("deviceId"), Information: c.Text("deviceInformation")}
	_, form.InformationProblem = readDeviceInformation(form.Information)
	if !form.New {
		form.RegistrationID = c.PathValue("id")
		stored, err := p.Provisioning.Enrollments().Get(c.Context(), form.RegistrationID)
		switch {
		case err == nil:
			form.Stored, form.State = stored, stored.RegistrationState
			form.setStored(&stored.Settings)
		case fault.From(err).Code == fault.EnrollmentNotFound:
			form.Vanished = true
		default:
			return form, err
		}
	} else if form.RegistrationID == "" && form.Mechanism == byX509 && form.Primary.Report != nil {
		form.RegistrationID = form.Primary.Report.RegistrationID
	}
	form.check()
	return form, nil
}

// restoreEnrollment shows again what was typed.
func (p *Pages) restoreEnrollment(c *web.Call) error {
	form, err := p.readEnrollmentForm(c)
	if err != nil {
		return err
	}
	return p.renderEnrollment(c, http.StatusOK, form)
}

// saveEnrollment writes what was typed, if nobody else wrote meanwhile.
func (p *Pages) saveEnrollment(c *web.Call) error {
	form, err := p.readEnrollmentForm(c)
	if err != nil {
		return err
	}
	if form.invalid() {
		return p.renderEnrollment(c, http.StatusBadRequest, form)
	}
	wanted := form.enrollment()
	ctx, service := c.Context(), p.Provisioning
	if form.creates() {
		_, err = service.Enrollments().Create(ctx, wanted)
	} else {
		_, err = service.Enrollments().Put(ctx, wanted, form.ETag)
	}
	if err == nil {
		c.Notify("ok", c.T("The enrollment %s was saved", wanted.RegistrationID))
		return c.Redirect("enrollments")
	}
	status := form.refuse(err, comparableEnrollment(form.Stored), comparableEnrollment(wanted), "registrationId",
		"deviceId", "optionalDeviceInformation")
	if status >= 500 {
		return err
	}
	return p.renderEnrollment(c, status, form)
}

// enrollment is what the form asks to be stored.
func (f *enrollmentForm) enrollment() enroll.Enrollment {
	wanted := f.Stored
	wanted.RegistrationID, wanted.DeviceID, wanted.RegistrationState = f.RegistrationID, f.DeviceID, nil
	wanted.OptionalDeviceInformation, _ = readDeviceInformation(f.Information)
	f.apply(&wanted.Settings)
	return wanted
}

// comparableEnrollment is what two people may have changed differently, as text.
func comparableEnrollment(e enroll.Enrollment) string {
	e.RegistrationState = nil
	clearIncidental(&e.Settings, false)
	return web.FormatJSON(e)
}

// initialTwinMembers is the shape of an enrollment's initial twin.
var initialTwinMembers = web.Members{"tags": nil, "properties": {"desired": nil}}

// readInitialTwin reads what someone typed as a device's first twin.
func readInitialTwin(text string) (*linkedhub.InitialTwin, *web.JSONProblem) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	if problem := web.CheckJSON(text, initialTwinMembers); problem != nil {
		return nil, problem
	}
	var twin linkedhub.InitialTwin
	if err := json.Unmarshal([]byte(text), &twin); err != nil {
		return nil, web.ProblemAt(text, 0, "This is not an initial twin: %s", err.Error())
	}
	return &twin, nil
}

// readDeviceInformation reads what someone typed as what else is known of a device.
func readDeviceInformation(text string) (json.RawMessage, *web.JSONProblem) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	if _, problem := web.ParseJSON(text); problem != nil {
		return nil, problem
	}
	return json.RawMessage(text), nil
}
