package own

import (
	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/provisioning"
)

// management are Berth's own operations: what Azure shows in its portal or by
// other protocols.
func (s *service) management() []https.Operation {
	return []https.Operation{
		dps("GET", contract.ServicePath, provisioning.EnrollmentRead, 0, s.summary),
		dps("GET", contract.EnrollmentListPath, provisioning.EnrollmentRead, 0, s.pageOfEnrollments).With(paging...),
		dps("GET", contract.GroupListPath, provisioning.EnrollmentRead, 0, s.pageOfGroups).With(paging...),
		dps("GET", contract.RegistrationListPath, provisioning.RegistrationStatusRead, 0, s.pageOfRegistrations).
			With(paging...),
		dps("GET", contract.AttemptsPath, provisioning.RegistrationStatusRead, 0, s.listAttempts).
			With("registrationId", "refused", "max"),
		dps("POST", contract.PortalLinksPath, provisioning.ServiceConfig, https.SmallBody, s.loginLink),
		dps("GET", contract.AttemptPath, provisioning.RegistrationStatusRead, 0, s.oneAttempt),
		dps("POST", contract.CheckChainPath, provisioning.EnrollmentRead, https.SmallBody, s.checkChain),
		dps("GET", contract.AuditPath, provisioning.ServiceConfig, 0, s.auditEntries).
			With("kind", "id", "actor", "since", "until", "after", "top"),
		dps("GET", contract.AuditItemsPath, provisioning.ServiceConfig, 0, s.bulkItems).With("after"),
		dps("GET", contract.LockoutsPath, provisioning.RegistrationStatusRead, 0, s.listLockouts),
		dps("DELETE", contract.LockoutPath, provisioning.ServiceConfig, 0, s.liftLockout),
		iot("GET", contract.DeviceListPath, hub.RegistryRead, 0, s.pageOfDevices).With(paging...),
		iot("GET", contract.TelemetryPath, hub.ServiceConnect, 0, followTelemetry).With("from", "device", "max"),
		iot("GET", contract.ChangeEventsPath, hub.ServiceConnect, 0, followEvents).With("from", "device", "max"),
	}
}

func (s *service) summary(c *https.Call) (any, error) {
	summary, err := s.Provisioning.Summary(c.Context())
	return summary, err
}

// PortalLogin says whom a way to log in is for.
type PortalLogin struct {
	Role string `json:"role"` // operator or reader
}

// loginLink makes a way to log in to the portal, for who may do everything here.
func (s *service) loginLink(c *https.Call) (any, error) {
	var wanted PortalLogin
	if err := c.Decode(&wanted); err != nil {
		return nil, err
	}
	link, err := s.LoginLink(c.Context(), wanted.Role)
	return link, err
}
