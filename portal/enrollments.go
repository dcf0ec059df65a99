package portal

import (
	"context"
	"net/http"

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
}

func listEnrollments(c *call) error {
	return c.show("enrollments", func() (any, error) {
		ctx, service := c.r.Context(), c.config.Provisioning
		l := list[provisioning.Enrollment]{Prefix: c.query("prefix"), After: c.query("after")}
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
	if which != "secondary" {
		which = "primary"
	}
	return c.renderPart("enrollment", "certificate-report", c.readCertificate(which))
}

// inspectTwin tells at once what is wrong with an initial twin.
func inspectTwin(c *call) error {
	_, problem := readInitialTwin(c.text("initialTwin"))
	return c.renderPart("enrollment", "json-problem", map[string]any{"Name": "initialTwin", "Problem": problem})
}

// certificateField is one of the two certificates of the form.
type certificateField struct {
	Name     string // primary or secondary
	Text     string // as typed; a private key never comes back
	Report   *provisioning.CertificateReport
	Problem  *fault.Error
	Enrolled *provisioning.X509CertificateInfo // what is stored now
}

// readCertificate reads a certificate that the form brings.
func (c *call) readCertificate(which string) certificateField {
	f := certificateField{Name: which, Text: c.text(which)}
	if name, ok := c.oversized[which]; ok {
		f.Problem = fault.New(fault.ArgumentInvalid, "The file %.100q is larger than %d bytes, so it is no certificate. Choose the device's .pem or .cer file", name, maxFile)
		f.Text = ""
		return f
	}
	if f.Text == "" {
		return f
	}
	report, err := provisioning.Inspect([]byte(f.Text), c.config.Now())
	if err != nil {
		f.Problem = fault.From(err)
		if f.Problem.Info["reason"] == "privateKey" || holdsPrivateKey(f.Text) {
			f.Text = ""
		}
		return f
	}
	f.Report, f.Text = &report, report.PEM
	return f
}

// problems are what is wrong with a form, by field; "" is the whole.
type problems map[string]*fault.Error

// add puts a fault to the field it names, if the form has that.
func (p problems) add(err error, fields ...string) {
	problem := fault.From(err)
	for _, field := range fields {
		if problem.Info["field"] == field {
			p[field] = problem
			return
		}
	}
	p[""] = problem
}

// reprovisioning are the choices of what happens to a device's data when it
// registers again, in Azure's order.
var reprovisioning = []struct {
	Value, Text string
	Policy      provisioning.ReprovisionPolicy
}{
	{"migrate", "Re-provision and migrate data", provisioning.ReprovisionPolicy{UpdateHubAssignment: true, MigrateDeviceData: true}},
	{"reset", "Re-provision and reset to initial state", provisioning.ReprovisionPolicy{UpdateHubAssignment: true}},
	{"never", "Never re-provision", provisioning.ReprovisionPolicy{}},
}

// enrollmentForm is the form that adds or edits an individual enrollment.
type enrollmentForm struct {
	New            bool
	RegistrationID string
	DeviceID       string
	Hub            string
	InitialTwin    string
	Reprovision    string
	IoTEdge        bool
	Enabled        bool
	ETag           string // of what was read when the form was made
	Primary        certificateField
	Secondary      certificateField
	NoSecondary    bool // the present secondary certificate is to go
	LinkedHubs     []string
	Problems       problems
	TwinProblem    *jsonProblem
	Conflict       []diffLine // somebody else saved meanwhile
	Vanished       bool       // somebody else deleted it meanwhile
	State          *provisioning.Registration
	Stored         provisioning.Enrollment
}

// Reprovisioning returns the choices.
func (enrollmentForm) Reprovisioning() any { return reprovisioning }

// emptyTwin is what the form begins with, as Azure's does.
const emptyTwin = `{
  "tags": {},
  "properties": {
    "desired": {}
  }
}`

func newEnrollment(c *call) error {
	return c.renderEnrollment(http.StatusOK, enrollmentForm{New: true, InitialTwin: emptyTwin, Enabled: true, Reprovision: "migrate", RegistrationID: c.query("registrationId")})
}

func editEnrollment(c *call) error {
	stored, err := c.config.Provisioning.Enrollment(c.r.Context(), c.r.PathValue("id"))
	if err != nil {
		return err
	}
	return c.renderEnrollment(http.StatusOK, formOf(stored))
}

func (c *call) renderEnrollment(status int, form enrollmentForm) error {
	form.LinkedHubs = c.config.Provisioning.LinkedHubs()
	form.Primary.Name, form.Secondary.Name = "primary", "secondary"
	return c.render(status, "enrollment", form)
}

// formOf is the form filled in with what is stored.
func formOf(stored provisioning.Enrollment) enrollmentForm {
	form := enrollmentForm{
		RegistrationID: stored.RegistrationID, DeviceID: stored.DeviceID, Hub: stored.HubHostName,
		IoTEdge: stored.Capabilities != nil && stored.Capabilities.IoTEdge,
		Enabled: stored.ProvisioningStatus != provisioning.Disabled,
		ETag:    stored.ETag, State: stored.RegistrationState, Stored: stored,
	}
	if stored.InitialTwin != nil {
		form.InitialTwin = jsonOf(stored.InitialTwin)
	}
	form.setStored(stored)
	for _, choice := range reprovisioning {
		if stored.ReprovisionPolicy != nil && *stored.ReprovisionPolicy == choice.Policy {
			form.Reprovision = choice.Value
		}
	}
	return form
}

func (f *enrollmentForm) setStored(stored provisioning.Enrollment) {
	f.Stored, f.State = stored, stored.RegistrationState
	if x := stored.Attestation.X509; x != nil && x.ClientCertificates != nil {
		if x.ClientCertificates.Primary != nil {
			f.Primary.Enrolled = x.ClientCertificates.Primary.Info
		}
		if x.ClientCertificates.Secondary != nil {
			f.Secondary.Enrolled = x.ClientCertificates.Secondary.Info
		}
	}
}

// readEnrollmentForm takes what was typed, with what is wrong in it.
func (c *call) readEnrollmentForm() (enrollmentForm, error) {
	form := enrollmentForm{
		New:            c.r.PathValue("id") == "",
		RegistrationID: c.text("registrationId"), DeviceID: c.text("deviceId"), Hub: c.value("hub"),
		InitialTwin: c.text("initialTwin"), Reprovision: c.value("reprovision"),
		IoTEdge: c.value("iotEdge") != "", Enabled: c.value("enabled") != "", NoSecondary: c.value("removeSecondary") != "",
		ETag: c.value("etag"), Primary: c.readCertificate("primary"), Secondary: c.readCertificate("secondary"),
		Problems: problems{},
	}
	for _, field := range []certificateField{form.Primary, form.Secondary} {
		if field.Problem != nil {
			form.Problems[field.Name] = field.Problem
		}
	}
	if !form.New {
		form.RegistrationID = c.r.PathValue("id")
		stored, err := c.config.Provisioning.Enrollment(c.r.Context(), form.RegistrationID)
		switch {
		case err == nil:
			form.setStored(stored)
		case fault.From(err).Code == fault.EnrollmentNotFound:
			form.Vanished = true
		default:
			return form, err
		}
	} else if form.RegistrationID == "" && form.Primary.Report != nil {
		form.RegistrationID = form.Primary.Report.RegistrationID
	}
	if form.New && form.Primary.Text == "" && form.Primary.Problem == nil {
		form.Primary.Problem = fault.New(fault.ArgumentInvalid, "The device's certificate is missing: choose its .pem or .cer file")
		form.Problems["primary"] = form.Primary.Problem
	}
	_, form.TwinProblem = readInitialTwin(form.InitialTwin)
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
	if len(form.Problems) > 0 || form.TwinProblem != nil {
		return c.renderEnrollment(http.StatusBadRequest, form)
	}
	wanted := form.enrollment()
	ctx, service := c.r.Context(), c.config.Provisioning
	if form.New || form.Vanished && form.ETag == "" {
		_, err = service.CreateEnrollment(ctx, wanted)
	} else {
		_, err = service.PutEnrollment(ctx, wanted, form.ETag)
	}
	if err == nil {
		c.say("ok", c.language.T("The enrollment %s was saved", wanted.RegistrationID))
		return c.redirect("enrollments")
	}
	problem := fault.From(err)
	if problem.Code.Status() >= 500 {
		return err
	}
	if problem.Code == fault.PreconditionFailed {
		if form.Vanished {
			form.ETag = ""
		} else {
			form.Conflict = diffLines(comparable(form.Stored), comparable(wanted))
			form.ETag = form.Stored.ETag
		}
	}
	form.Problems.add(err, "registrationId", "deviceId", "hub", "initialTwin", "primary", "secondary")
	return c.renderEnrollment(problem.Code.Status(), form)
}

// enrollment is what the form asks to be stored. What the form does not show
// stays as it is.
func (f *enrollmentForm) enrollment() provisioning.Enrollment {
	wanted := f.Stored
	wanted.RegistrationID, wanted.DeviceID, wanted.HubHostName = f.RegistrationID, f.DeviceID, f.Hub
	wanted.RegistrationState = nil
	wanted.ProvisioningStatus = provisioning.Disabled
	if f.Enabled {
		wanted.ProvisioningStatus = provisioning.Enabled
	}
	if f.IoTEdge || wanted.Capabilities != nil {
		wanted.Capabilities = &provisioning.Capabilities{IoTEdge: f.IoTEdge}
	}
	switch {
	case f.Hub == "" && wanted.AllocationPolicy == provisioning.Static && len(wanted.Hubs) == 0:
		wanted.AllocationPolicy = ""
	case f.Hub != "":
		wanted.AllocationPolicy = provisioning.Static
	}
	for _, choice := range reprovisioning {
		if choice.Value == f.Reprovision {
			policy := choice.Policy
			wanted.ReprovisionPolicy = &policy
		}
	}
	wanted.InitialTwin, _ = readInitialTwin(f.InitialTwin)
	certificates := provisioning.X509Certificates{Primary: f.Primary.certificate(), Secondary: f.Secondary.certificate()}
	if f.NoSecondary && f.Secondary.Text == "" {
		certificates.Secondary = nil
	}
	wanted.Attestation = provisioning.AttestationMechanism{Type: "x509", X509: &provisioning.X509Attestation{ClientCertificates: &certificates}}
	return wanted
}

func (f certificateField) certificate() *provisioning.X509Certificate {
	switch {
	case f.Text != "":
		return &provisioning.X509Certificate{Certificate: f.Text}
	case f.Enrolled != nil:
		return &provisioning.X509Certificate{Info: f.Enrolled}
	}
	return nil
}

// comparable is what two people may have changed differently, as text.
func comparable(e provisioning.Enrollment) string {
	e.RegistrationState, e.ETag = nil, ""
	e.CreatedDateTimeUTC, e.LastUpdatedDateTimeUTC = provisioning.Time{}, provisioning.Time{}
	if x := e.Attestation.X509; x != nil && x.ClientCertificates != nil {
		certificates := *x.ClientCertificates
		for _, certificate := range []**provisioning.X509Certificate{&certificates.Primary, &certificates.Secondary} {
			if *certificate == nil || (*certificate).Certificate == "" {
				continue
			}
			if report, err := provisioning.Inspect([]byte((*certificate).Certificate), e.CreatedDateTimeUTC.Time); err == nil {
				*certificate = &provisioning.X509Certificate{Info: &report.Info}
			}
		}
		e.Attestation.X509 = &provisioning.X509Attestation{ClientCertificates: &certificates}
	}
	return jsonOf(e)
}
