package contract

import "strings"

// own begins the paths of Berth's own operations: for what Azure offers by other means
// than REST.
const own Path = "/berth/"

// IsOwn reports whether a path is of Berth's own operations.
func (p Path) IsOwn() bool { return strings.HasPrefix(string(p), string(own)) }

// Berth's own paths. What Azure has of these, it has in its portal and management API.
const (
	OpenAPIPath     Path = own + "openapi.json"
	UnreadablePath  Path = own + "unreadable"
	PortalLinksPath Path = own + "portal/links"

	ServicePath           Path = own + "provisioning/service"
	EnrollmentListPath    Path = own + "provisioning/enrollments"
	EnrollmentsDryRunPath Path = EnrollmentListPath + "/dryrun"
	GroupListPath         Path = own + "provisioning/groups"
	GroupsDryRunPath      Path = GroupListPath + "/dryrun"
	RegistrationListPath  Path = own + "provisioning/registrations"
	AttemptsPath          Path = own + "provisioning/attempts"
	AttemptPath           Path = AttemptsPath + "/{sequence}"
	CheckChainPath        Path = own + "provisioning/checkchain"
	AuditPath             Path = own + "provisioning/audit"
	AuditItemsPath        Path = AuditPath + "/{bulk}"
	LockoutsPath          Path = own + "provisioning/lockouts"
	LockoutPath           Path = LockoutsPath + "/{source}"
	MisbehavioursPath     Path = own + "provisioning/misbehaviours"
	MisbehaviourPath      Path = MisbehavioursPath + "/{id}"

	HubLinksPath Path = own + "provisioning/hubs"
	HubLinkPath  Path = HubLinksPath + "/{host}"
	NetworksPath Path = own + "provisioning/networks"
	NetworkPath  Path = NetworksPath + "/{prefix}"
	AllocatePath Path = own + "provisioning/allocate"

	CredentialPoliciesPath    Path = own + "provisioning/credentialpolicies"
	CredentialPolicyPath      Path = CredentialPoliciesPath + "/{name}"
	IssuersPath               Path = own + "provisioning/issuingauthorities"
	IssuerPath                Path = IssuersPath + "/{name}"
	IssuerRequestPath         Path = IssuerPath + "/request"
	IssuerActivationPath      Path = IssuerPath + "/activate"
	IssuerRevocationPath      Path = IssuerPath + "/revoke"
	CertificatesPath          Path = own + "provisioning/issuedcertificates"
	DeviceRevocationPath      Path = CertificatesPath + "/revoke" // of all certificates of a device
	CertificatePath           Path = CertificatesPath + "/{thumbprint}"
	CertificateRevocationPath Path = CertificatePath + "/revoke"

	AccessPoliciesPath  Path = own + "provisioning/policies"
	AccessPolicyPath    Path = AccessPoliciesPath + "/{name}"
	AccessPolicyKeyPath Path = AccessPolicyPath + "/regenerateKey"

	DeviceListPath    Path = own + "hub/devices"
	DeviceMessagePath Path = DeviceListPath + "/{id}/messages"
	ModuleMessagePath Path = DeviceListPath + "/{id}/modules/{module}/messages"
	TwinIndexListPath Path = own + "hub/twinindexes"
	TwinIndexPath     Path = TwinIndexListPath + "/{name}"
	TelemetryPath     Path = own + "hub/telemetry"
	JobDevicesPath    Path = own + "hub/jobs/{id}/devices"
	JobStopPath       Path = own + "hub/jobs/{id}/stop"
	TargetsPath       Path = own + "hub/configurations/targets" // of a configuration that is not there yet
	FaultsPath        Path = own + "hub/faults"                 // that are injected
	FaultPath         Path = FaultsPath + "/{id}"
	ChangeEventsPath  Path = own + "hub/events"
)

// AuthorityPaths are the paths of the certificate authorities of a service, with the words
// that Azure's management API has for them.
type AuthorityPaths struct{ All, One, Code, Proof Path }

// The certificate authorities of both services.
var (
	ServiceAuthorities = authorityPaths(own + "provisioning/certificates")
	HubAuthorities     = authorityPaths(own + "hub/certificates")
)

func authorityPaths(all Path) AuthorityPaths {
	one := all + "/{id}"
	return AuthorityPaths{All: all, One: one, Code: one + "/generateVerificationCode", Proof: one + "/verify"}
}
