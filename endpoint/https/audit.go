package https

import (
	"net/http"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning"
)

// changedKinds are the kinds of what operations change, by the word of their paths.
var changedKinds = map[string]audit.Kind{
	"enrollments": audit.Enrollment, "enrollmentGroups": audit.Group, "groups": audit.Group,
	"registrations": audit.Registration,
	"certificates":  audit.Authority, "hubs": audit.HubLink, "networks": audit.Network,
	"misbehaviours": audit.Misbehaviour, "lockouts": audit.Lockout, "policies": audit.AccessPolicy,
	"credentialpolicies": audit.CredentialPolicy, "issuingauthorities": audit.Issuer,
	"issuedcertificates": audit.Issued,
	"portal":             audit.Portal, "unreadable": audit.Record,
}

// Changes reports what kind of thing the operation changes; ok is false when it only
// reads.
func (o Operation) Changes() (kind audit.Kind, ok bool) {
	switch o.Right {
	case provisioning.ServiceConfig, provisioning.EnrollmentWrite, provisioning.RegistrationStatusWrite:
	default:
		return "", false
	}
	for _, segment := range o.Path.Segments() {
		if kind, ok := changedKinds[segment]; ok {
			return kind, o.Method != http.MethodGet
		}
	}
	return "", false
}

// auditRefusal keeps it that a policy asked for a change that it may not make.
func (c *Call) auditRefusal(found Operation, refusal error) {
	kind, ok := found.Changes()
	if !ok {
		return
	}
	id := ""
	for _, parameter := range c.parameters {
		id = parameter // no change has more than one
	}
	if err := c.door.Audit.Refuse(c.Context(), kind, id, fault.From(refusal).Message, nil, nil); err != nil {
		c.door.Logger.Error("a refusal is not in the audit", "kind", kind, "id", id, "error", err)
	}
}
