package contract

import (
	"strconv"
	"strings"
)

// The topics to which devices publish requests (Microsoft Learn, iot-dps-mqtt-support
// and iot-mqtt-connect-to-iot-hub). Parameters follow, joined by &: $rid, the id of the
// request, and what each topic has besides.
const (
	RegisterTopic           = "$dps/registrations/PUT/iotdps-register/?"
	RegistrationStatusTopic = "$dps/registrations/GET/iotdps-get-operationstatus/?" // with operationId

	TwinTopic             = "$iothub/twin/GET/?"
	ReportedTopic         = "$iothub/twin/PATCH/properties/reported/?" // with $version, if conditional
	IssueCertificateTopic = "$iothub/credentials/POST/issueCertificate/?"
)

// Answers is the beginning of the topics on which requests of a kind are answered:
// {Answers}{status}/?$rid={request id}[&{parameters}]. The status is as in HTTP.
type Answers string

// The answers to the requests of devices.
const (
	RegistrationAnswers Answers = "$dps/registrations/res/"  // parameter retry-after, in seconds
	TwinAnswers         Answers = "$iothub/twin/res/"        // parameter $version, of a report
	CertificateAnswers  Answers = "$iothub/credentials/res/" // parameter retry-after
)

// MethodAnswers begin the topics on which devices answer calls of methods. The status is
// the device's own.
const MethodAnswers Answers = "$iothub/methods/res/"

// MethodFilter is the topic filter by which a device subscribes to calls of its methods.
const MethodFilter = methods + "#"

const methods = "$iothub/methods/POST/"

// MethodTopic returns the topic of a call of a method. Either may be in braces, for the
// form of all such topics.
func MethodTopic(name, requestID string) string { return methods + name + "/?$rid=" + requestID }

// CutMethod splits the topic of a call. ok is false for any other topic.
func CutMethod(topic string) (name, requestID string, ok bool) {
	rest, ok := strings.CutPrefix(topic, methods)
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, "/?$rid=")
}

// Topic returns the topic of one answer, without parameters. $rid comes first: the
// pattern of the C# client wants it there.
func (a Answers) Topic(status int, requestID string) string {
	return string(a) + strconv.Itoa(status) + "/?$rid=" + requestID
}

// Filter returns the topic filter by which a device subscribes to the answers.
func (a Answers) Filter() string { return string(a) + "#" }

// Cut splits the topic of an answer. ok is false for any other topic. The status is as
// it stands there, and the parameters are still encoded.
func (a Answers) Cut(topic string) (status, parameters string, ok bool) {
	rest, ok := strings.CutPrefix(topic, string(a))
	if !ok {
		return "", "", false
	}
	status, parameters, _ = strings.Cut(rest, "/?")
	return status, parameters, true
}

// DesiredTopic begins the topic on which a device is told of a patch of its desired
// properties. The parameter $version is the version that it makes them.
const DesiredTopic = desired + "?"

// DesiredFilter is the topic filter by which a device subscribes to those patches.
const DesiredFilter = desired + "#"

const desired = "$iothub/twin/PATCH/properties/desired/"

// EventsTopic returns the topic of the telemetry of a device or module, up to its property
// bag, which follows a slash. The id is as in HubName.ClientID; it may be percent-encoded.
func EventsTopic(id string) string { return address(id) + "/messages/events" }

// DeviceboundTopic returns the topic of messages to a device or module, up to their property
// bag, which follows a slash.
func DeviceboundTopic(id string) string { return address(id) + "/messages/devicebound" }

// InputsTopic returns the topic of messages that an IoT Edge hub routes to inputs of a
// module, up to the name of the input and the property bag, which follow a slash each.
func InputsTopic(id string) string { return address(id) + "/inputs" }
