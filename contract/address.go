package contract

import (
	"net/url"
	"strings"
)

// Path is the path of an address. A segment in braces stands for an id.
type Path string

// Segments returns what is between the slashes of the path.
func (p Path) Segments() []string { return strings.Split(strings.TrimPrefix(string(p), "/"), "/") }

// With returns the path with ids in place of the segments in braces, in their order and
// percent-encoded. There must be as many as it has.
func (p Path) With(ids ...string) Path {
	var path strings.Builder
	rest := string(p)
	for _, id := range ids {
		before, from, _ := strings.Cut(rest, "{")
		_, after, _ := strings.Cut(from, "}")
		path.WriteString(before)
		path.WriteString(url.PathEscape(id))
		rest = after
	}
	path.WriteString(rest)
	return Path(path.String())
}

// The provisioning service's paths for devices (Azure, DPS data plane, device).
const (
	RegisterPath        Path = "/{scope}/registrations/{id}/register"
	OperationStatusPath Path = "/{scope}/registrations/{id}/operations/{operation}"
	LookUpPath          Path = "/{scope}/registrations/{id}"
)

// The provisioning service's paths for back ends (Azure, DPS data plane, service).
const (
	EnrollmentsPath         Path = "/enrollments"
	EnrollmentsQueryPath    Path = "/enrollments/query"
	EnrollmentPath          Path = "/enrollments/{id}"
	EnrollmentMechanismPath Path = "/enrollments/{id}/attestationmechanism"
	GroupsPath              Path = "/enrollmentGroups"
	GroupsQueryPath         Path = "/enrollmentGroups/query"
	GroupPath               Path = "/enrollmentGroups/{id}"
	GroupMechanismPath      Path = "/enrollmentGroups/{id}/attestationmechanism"
	GroupRegistrationsPath  Path = "/registrations/{id}/query" // whose id is a group's
	RegistrationPath        Path = "/registrations/{id}"
)

// A hub's paths for devices (Azure, IoT Hub device).
const (
	EventsPath             Path = "/devices/{id}/messages/events"
	ModuleEventsPath       Path = "/devices/{id}/modules/{module}/messages/events" // which Azure has not
	DeviceboundPath        Path = "/devices/{id}/messages/devicebound"
	DeviceboundLockPath    Path = "/devices/{id}/messages/devicebound/{lockToken}"
	DeviceboundAbandonPath Path = "/devices/{id}/messages/devicebound/{lockToken}/abandon"
)

// DeviceboundAddress is to whom a message to a device or module is, as its property to has
// it. The id is as in HubName.ClientID.
func DeviceboundAddress(id string) string { return "/" + address(id) + "/messages/deviceBound" }

// address is that of a device, or of a module below its device's.
func address(id string) string { return "devices/" + strings.Replace(id, "/", "/modules/", 1) }

// A hub's paths for back ends (Azure, IoT Hub service).
const (
	DevicesPath           Path = "/devices"
	DevicesQueryPath      Path = "/devices/query"
	DeviceKeysPath        Path = "/devices/keys/regenerate"
	DevicePath            Path = "/devices/{id}"
	ModulesPath           Path = "/devices/{id}/modules"
	ModulePath            Path = "/devices/{id}/modules/{module}"
	TwinPath              Path = "/twins/{id}"
	ModuleTwinPath        Path = "/twins/{id}/modules/{module}"
	MethodsPath           Path = "/twins/{id}/methods" // of a device: each call of one
	ModuleMethodsPath     Path = "/twins/{id}/modules/{module}/methods"
	DigitalTwinPath       Path = "/digitaltwins/{id}"
	CommandPath           Path = "/digitaltwins/{id}/commands/{command}"
	ComponentCommandPath  Path = "/digitaltwins/{id}/components/{component}/commands/{command}"
	DeviceQueuePath       Path = "/devices/{id}/commands" // the messages that wait for a device
	RegistryJobsPath      Path = "/jobs"                  // imports and exports of identities
	RegistryJobCreatePath Path = "/jobs/create"
	RegistryJobPath       Path = "/jobs/{id}"
	JobPath               Path = "/jobs/v2/{id}"
	JobCancelPath         Path = "/jobs/v2/{id}/cancel"
	JobsQueryPath         Path = "/jobs/v2/query"
	FeedbackPath          Path = "/messages/serviceBound/feedback"
	FeedbackLockPath      Path = "/messages/serviceBound/feedback/{lockToken}"
	FeedbackAbandonPath   Path = "/messages/serviceBound/feedback/{lockToken}/abandon"
	ConfigurationsPath    Path = "/configurations"
	ConfigurationPath     Path = "/configurations/{id}"
	ConfigurationTestPath Path = "/configurations/testQueries"
	ApplyContentPath      Path = "/devices/{id}/applyConfigurationContent"
	DeviceStatisticsPath  Path = "/statistics/devices"
	ServiceStatisticsPath Path = "/statistics/service"
)
