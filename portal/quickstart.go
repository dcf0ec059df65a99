package portal

import (
	"errors"
	"strings"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/portal/hubpages"
	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/attempts"
)

func (p *pages) quickstartRoutes() web.Routes {
	return web.Routes{
		"GET quickstart": web.RequireSession(p.showQuickstart),
	}
}

// quickstartDevice is the device of Azure's quickstart.
const quickstartDevice = "Python-device-01"

// quickstartPage is Azure's quickstart for an X.509 device in Python, with this
// server's own values, and how far one has come with it.
type quickstartPage struct {
	OS       string
	Systems  []system
	ID       string
	IDScope  string
	Host     string
	Hub      hubpages.Summary
	CAFile   string
	OpenSSL  string // the command that makes the certificate
	Python   string // how Python is called
	Activate string // how its virtual environment is entered

	Enrolled   bool
	Attempted  bool
	Assigned   bool
	Sent       bool
	CleanedUp  bool
	Refused    int64 // sequence of the last attempt when it was refused, plus one; 0 else
	Substatus  provisioning.Substatus
	DeviceGone bool
}

// system is a choice of operating system.
type system struct{ Value, Name string }

var systems = []system{{"linux", "Linux"}, {"macos", "macOS"}, {"windows", "Windows (Git Bash)"}}

func (p *pages) showQuickstart(c *web.Call) error {
	return c.Show("quickstart", p.activityRevision, func() (any, error) {
		h := p.Hubs.All()[0]
		page := quickstartPage{
			OS: c.System(), Systems: systems, ID: c.Query("id"),
			IDScope: p.Provisioning.IDScope(), Host: p.Provisioning.Host(),
			Hub: hubpages.Summary{Name: h.Name(), Host: h.Host()}, CAFile: p.CAFile,
		}
		if page.ID == "" {
			page.ID = quickstartDevice
		}
		page.setCommands()
		return page, p.progress(c, &page, h)
	})
}

// WasEnrolled reports whether the device is enrolled, or was when it registered.
func (q quickstartPage) WasEnrolled() bool { return q.Enrolled || q.Assigned }

func (q *quickstartPage) setCommands() {
	// The files have the names that berth cert device gives them.
	q.OpenSSL = "openssl req -outform PEM -x509 -sha256 -newkey rsa:4096" +
		" -keyout ./" + q.ID + ".key.pem -out ./" + q.ID + ".pem" +
		` -days 365 -extensions usr_cert -subj "/CN=` + q.ID + `"`
	q.Python, q.Activate = "python3", "source venv/bin/activate"
	if q.OS == "windows" {
		// Git Bash takes a name that begins with one slash for a path.
		q.OpenSSL = "winpty " + strings.Replace(q.OpenSSL, `"/CN=`, `"//CN=`, 1)
		q.Python, q.Activate = "winpty python", "source venv/Scripts/activate"
	}
}

// progress finds out what of the quickstart has happened.
func (p *pages) progress(c *web.Call, page *quickstartPage, h *hub.Hub) error {
	ctx, service := c.Context(), p.Provisioning
	enrollment, err := service.Enrollments().Get(ctx, page.ID)
	if err != nil && !errors.Is(err, fault.EnrollmentNotFound) {
		return err
	}
	page.Enrolled = err == nil
	attempts, err := p.provisioning.Attempts(c, attempts.Filter{RegistrationID: page.ID, Max: 1})
	if err != nil {
		return err
	}
	if page.Attempted = len(attempts) > 0; page.Attempted && attempts[0].Outcome != "assigned" {
		page.Refused = attempts[0].Sequence + 1
	}
	registration, err := service.Registrations().Get(ctx, page.ID)
	if err != nil && !errors.Is(err, fault.RegistrationNotFound) {
		return err
	}
	page.Assigned, page.Substatus = err == nil &&
		registration.Status == provisioning.StatusAssigned, registration.Substatus
	device := page.ID
	if enrollment.DeviceID != "" {
		device = enrollment.DeviceID
	} else if registration.DeviceID != "" {
		device = registration.DeviceID
	}
	if page.Assigned {
		page.Hub = hubpages.Summary{Host: registration.AssignedHub}
		if h = p.Hubs.ByHost(registration.AssignedHub); h == nil {
			return nil // what becomes of it elsewhere is not known here
		}
		page.Hub.Name = h.Name()
	}
	if _, err := h.Device(ctx, device); errors.Is(err, fault.DeviceNotFound) {
		page.DeviceGone = true
	} else if err != nil {
		return err
	}
	sent, err := hubpages.RecentTelemetry(c, h, device, 1)
	page.Sent = len(sent) > 0
	page.CleanedUp = page.Assigned && !page.Enrolled && page.DeviceGone
	return err
}
