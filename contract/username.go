package contract

import (
	"errors"
	"net/url"
	"strings"
)

// ProvisioningName is the MQTT user name of a device that registers (Microsoft Learn,
// iot-dps-mqtt-support):
//
//	{idScope}/registrations/{registrationId}/api-version={version}[&ClientVersion={agent}]
//
// The parameters come in any order, with a question mark or a slash before them or
// without.
type ProvisioningName struct{ IDScope, RegistrationID, APIVersion string }

// ParseProvisioningName reads a user name. ok is false for one of another form. The
// registration id is decoded.
func ParseProvisioningName(username string) (name ProvisioningName, ok bool) {
	scope, rest, _ := strings.Cut(username, "/")
	level, rest, ok := strings.Cut(rest, "/")
	if !ok || !strings.EqualFold(level, "registrations") { // in any case, as in the paths of HTTPS
		return ProvisioningName{}, false
	}
	id, parameters := rest, ""
	if end := strings.IndexAny(rest, "/?&"); end >= 0 { // no registration id has one of these
		id, parameters = rest[:end], rest[end:]
	}
	return ProvisioningName{scope, Unescape(id), parameter(parameters, "api-version")}, true
}

// Username returns the user name of a device whose program calls itself agent.
func (n ProvisioningName) Username(agent string) string {
	return n.IDScope + "/registrations/" + n.RegistrationID + "/api-version=" + n.APIVersion +
		"&ClientVersion=" + url.QueryEscape(agent)
}

// Matches reports whether a client may use the user name: its client id is the
// registration id, which has no upper and lower case.
func (n ProvisioningName) Matches(clientID string) bool {
	return strings.EqualFold(Unescape(clientID), n.RegistrationID)
}

// HubName is the MQTT user name of a device of a hub (Microsoft Learn,
// iot-mqtt-connect-to-iot-hub):
//
//	{hubHost}/{deviceId}[/{moduleId}]/?api-version={version}[&…]
//
// also without the question mark, and with nothing after the ids.
type HubName struct{ Host, DeviceID, ModuleID string }

// ParseHubName reads a user name. The ids are as they stand there: see As. The error
// says what form it should have.
func ParseHubName(username string) (HubName, error) {
	host, rest, ok := strings.Cut(username, "/")
	if !ok || host == "" {
		return HubName{}, errors.New("the user name is neither {hub host}/{device id}/?api-version=… nor " +
			"{ID scope}/registrations/{registration id}/api-version=…")
	}
	ids, _ := splitParameters(rest)
	deviceID, moduleID, _ := strings.Cut(strings.TrimSuffix(ids, "/"), "/")
	if deviceID == "" || strings.Contains(moduleID, "/") {
		return HubName{}, errors.New("the user name does not name a device: {hub host}/{device id}/?api-version=…")
	}
	return HubName{host, deviceID, moduleID}, nil
}

// Username returns the user name of a device whose program calls itself agent, and
// wants this version of the contract.
func (n HubName) Username(apiVersion, agent string) string {
	return n.Host + "/" + n.ClientID() + "/?api-version=" + apiVersion + "&DeviceClientType=" + url.QueryEscape(agent)
}

// ClientID returns what the client id must be for the name.
func (n HubName) ClientID() string {
	if n.ModuleID != "" {
		return n.DeviceID + "/" + n.ModuleID
	}
	return n.DeviceID
}

// As returns the name for a client id, which no client encodes: it tells whether the
// ids of the user name are percent-encoded, as a percent sign may also be in an id. It
// reports false when the client id is another.
func (n HubName) As(clientID string) (HubName, bool) {
	if n.ClientID() == clientID {
		return n, true
	}
	decoded := HubName{n.Host, Unescape(n.DeviceID), Unescape(n.ModuleID)}
	return decoded, decoded.ClientID() == clientID
}

// parameterNames are those of the parameters that clients send first, after the ids.
var parameterNames = []string{"api-version", "DeviceClientType", "ClientVersion", "model-id", "digital-twin-model-id",
	"auth-chain"}

// splitParameters splits what follows the host of a user name where its parameters
// begin: with "/?", with the name of a parameter behind a slash or a question mark, or
// with an ampersand, which no id has. From there on slashes are the parameters' own,
// because not every client encodes the name of its agent. Both a question mark and an
// equals sign may be in an id.
func splitParameters(text string) (ids, parameters string) {
	if beginsParameter(text) {
		return "", text
	}
	for i := range len(text) {
		rest := text[i+1:]
		switch {
		case text[i] == '/' && (strings.HasPrefix(rest, "?") || beginsParameter(rest)),
			text[i] == '?' && beginsParameter(rest):
			return text[:i], rest
		case text[i] == '&':
			// A parameter with another name may stand before, in a level of its own.
			if slash := strings.LastIndexByte(text[:i], '/'); slash >= 0 && strings.Contains(text[slash:i], "=") {
				i = slash
			}
			return text[:i], text[i+1:]
		}
	}
	return text, ""
}

func beginsParameter(text string) bool {
	for _, name := range parameterNames {
		if len(text) > len(name) && text[len(name)] == '=' && strings.EqualFold(text[:len(name)], name) {
			return true
		}
	}
	return false
}

// parameter returns the first of this name, decoded, or "". Old clients have slashes
// between the parameters.
func parameter(parameters, name string) string {
	for part := range strings.FieldsFuncSeq(parameters, func(r rune) bool { return r == '&' || r == '?' || r == '/' }) {
		if key, value, _ := strings.Cut(part, "="); strings.EqualFold(key, name) {
			return Unescape(value)
		}
	}
	return ""
}

// Unescape resolves %XX in a part of a user name or a topic. A text that can't have
// been encoded stays as it is.
func Unescape(text string) string {
	if decoded, err := url.PathUnescape(text); err == nil {
		return decoded
	}
	return text
}
