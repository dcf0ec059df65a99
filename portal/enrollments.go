package portal

import (
	"context"
	"net/http"
	"slices"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning"
)

var enrollmentRoutes = map[string]handler{
	"GET enrollments":              reading(listEnrollments),
	"GET enrollments/new":          reading(newEnrollment),
	"POST enrollments/new":         writing(typedEnrollment, saveEnrollment),
	"GET enrollment/{id}":          reading(editEnrollment),
	"POST enrollment/{id}":         writing(typedEnrollment, saveEnrollment),
	"POST enrollments/delete":      writing(confirmEnrollments, deleteEnrollments),
	"POST enrollments/certificate": reading(inspectCertificate),
	"POST enrollments/twin":        reading(inspectTwin),
	"POST enrollments/information": reading(inspectInformation),
}

func listEnrollments(c *call) error {
	return c.show("enrollments", nil, func() (any, error) {
		ctx, service := c.r.Context(), c.config.Provisioning
		l := list[provisioning.Enrollment]{place: place{Prefix: c.query("prefix"), After: c.query("after")}}
		var err error
		if l.Items, l.Next, err = service.Enrollments(ctx, l.Prefix, l.After, pageSize); err != nil {
			return nil, err
		}
		counts, err := service.Counts(ctx)
		l.Total = counts.Enrollments
		return l, err
	})
}

func (c *call) enrollmentDeletion() deletion {
	return deletion{
		Back:    "enrollments",
		Title:   "Delete %d enrollment?|Delete %d enrollments?",
		Explain: "The devices can't register any more. Those that did stay in their hub, and their registration records stay too.",
		Done:    "%d enrollment was deleted|%d enrollments were deleted",
		gone:    fault.EnrollmentNotFound,
		kind:    audit.Enrollment,
		ids:     idsOf(c.config.Provisioning.Enrollments, func(e provisioning.Enrollment) string { return e.RegistrationID }),
		delete: func(ctx context.Context, id string) error {
			return c.config.Provisioning.DeleteEnrollment(ctx, id, "")
		},
	}
}

func confirmEnrollments(c *call) error { return c.confirm(c.enrollmentDeletion()) }
func deleteEnrollments(c *call) error  { return c.deleteSelected(c.enrollmentDeletion()) }

// inspectCertificate tells at once what a certificate says that was chosen,
// dropped or pasted.
func inspectCertificate(c *call) error {
	which := c.query("which")
	if !slices.Contains([]string{"primary", "secondary", "certificate", "proof"}, which) {
		which = "primary"
	}
	return c.renderPart("enrollment", "certificate-report", c.readCertificate(which, c.query("of") == "group"))
}

// inspectTwin tells at once what is wrong with an initial twin.
func inspectTwin(c *call) error {
	_, problem := readInitialTwin(c.text("initialTwin"))
	return c.renderPart("enrollment", "json-problem", map[string]any{"Name": "initialTwin", "Problem": problem})
}

// inspectInformation tells at once what is wrong with a device's information.
func inspectInformation(c *call) error {
	_, problem := readDeviceInformation(c.text("deviceInformation"))
	return c.renderPart("enrollment", "json-problem", map[string]any{"Name": "deviceInformation", "Problem": problem})
}

// enrollmentForm is the form that adds or edits an individual enrollment.
type enrollmentForm struct {
	terms
	RegistrationID string
	DeviceID       string
	Information    string // of the device, for the operator's own use: JSON
	State          *provisioning.Registration
	Stored         provisioning.Enrollment

	InformationProblem *jsonProblem
}

// wrong reports whether the form must be corrected before it can be sent on.
func (f *enrollmentForm) wrong() bool { return f.terms.wrong() || f.InformationProblem != nil }

func newEnrollment(c *call) error {
	return c.renderEnrollment(http.StatusOK, enrollmentForm{terms: newTerms(false), RegistrationID: c.query("registrationId")})
}

func editEnrollment(c *call) error {
	ctx, service, id := c.r.Context(), c.config.Provisioning, c.r.PathValue("id")
	stored, err := service.Enrollment(ctx, id)
	if err != nil {
		return err
	}
	form := enrollmentForm{terms: termsOf(&stored.EnrollmentSettings, false), RegistrationID: stored.RegistrationID, DeviceID: stored.DeviceID,
		Information: indent(stored.OptionalDeviceInformation), State: stored.RegistrationState, Stored: stored}
	if form.HasKeys && c.asksFor("keys") {
		if form.StoredKeys, err = keysOf(service.AttestationMechanism(ctx, id)); err != nil {
			return err
		}
	}
	return c.renderEnrollment(http.StatusOK, form)
}

func (c *call) renderEnrollment(status int, form enrollmentForm) error {
	form.offerHubs(c.config.Provisioning.LinkedHubs())
	form.named()
	return c.render(status, "enrollment", form)
}

// readEnrollmentForm takes what was typed, with what is wrong in it.
func (c *call) readEnrollmentForm() (enrollmentForm, error) {
	form := enrollmentForm{terms: c.readTerms(false), RegistrationID: c.text("registrationId"),
		DeviceID: c.text("deviceId"), Information: c.text("deviceInformation")}
	_, form.InformationProblem = readDeviceInformation(form.Information)
	if !form.New {
		form.RegistrationID = c.r.PathValue("id")
		stored, err := c.config.Provisioning.Enrollment(c.r.Context(), form.RegistrationID)
		switch {
		case err == nil:
			form.Stored, form.State = stored, stored.RegistrationState
			form.setStored(&stored.EnrollmentSettings)
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

// typedEnrollment shows again what was typed.
func typedEnrollment(c *call) error {
	form, err := c.readEnrollmentForm()
	if err != nil {
		return err
	}
	return c.renderEnrollment(http.StatusOK, form)
}

// saveEnrollment writes what was typed, if nobody else wrote meanwhile.
func saveEnrollment(c *call) error {
	form, err := c.readEnrollmentForm()
	if err != nil {
		return err
	}
	if form.wrong() {
		return c.renderEnrollment(http.StatusBadRequest, form)
	}
	wanted := form.enrollment()
	ctx, service := c.r.Context(), c.config.Provisioning
	if form.creates() {
		_, err = service.CreateEnrollment(ctx, wanted)
	} else {
		_, err = service.PutEnrollment(ctx, wanted, form.ETag)
	}
	if err == nil {
		c.say("ok", c.language.T("The enrollment %s was saved", wanted.RegistrationID))
		return c.redirect("enrollments")
	}
	status := form.refuse(err, comparableEnrollment(form.Stored), comparableEnrollment(wanted), "registrationId",
		"deviceId", "optionalDeviceInformation")
	if status >= 500 {
		return err
	}
	return c.renderEnrollment(status, form)
}

// enrollment is what the form asks to be stored.
func (f *enrollmentForm) enrollment() provisioning.Enrollment {
	wanted := f.Stored
	wanted.RegistrationID, wanted.DeviceID, wanted.RegistrationState = f.RegistrationID, f.DeviceID, nil
	wanted.OptionalDeviceInformation, _ = readDeviceInformation(f.Information)
	f.write(&wanted.EnrollmentSettings)
	return wanted
}

// comparableEnrollment is what two people may have changed differently, as text.
func comparableEnrollment(e provisioning.Enrollment) string {
	e.RegistrationState = nil
	bare(&e.EnrollmentSettings, false)
	return jsonOf(e)
}
