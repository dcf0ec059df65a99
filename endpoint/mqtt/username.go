package mqtt

import (
	"errors"
	"net/url"
	"strings"
)

// provisioningName is the user name of a device that registers:
//
//	{idScope}/registrations/{registrationId}/api-version={version}[&ClientVersion={agent}]
//
// The parameters come in any order, with a question mark or a slash before them or
// without.
type provisioningName struct{ idScope, registrationID, apiVersion string }

func parseProvisioningName(username string) (provisioningName, bool) {
	scope, rest, ok := strings.Cut(username, "/registrations/")
	if !ok || strings.Contains(scope, "/") {
		return provisioningName{}, false
	}
	id, parameters := rest, ""
	if end := strings.IndexAny(rest, "/?&"); end >= 0 { // no registration id has one of these
		id, parameters = rest[:end], rest[end:]
	}
	return provisioningName{scope, unescape(id), parameter(parameters, "api-version")}, true
}

// matches reports whether a client may use the user name: its client id is the
// registration id, which has no upper and lower case.
func (n provisioningName) matches(clientID string) bool {
	return strings.EqualFold(unescape(clientID), n.registrationID)
}

// hubName is the user name of a device of a hub:
//
//	{hubHost}/{deviceId}[/{moduleId}]/?api-version={version}[&…]
//
// also without the question mark, and with nothing after the ids.
type hubName struct{ host, deviceID, moduleID string }

func parseHubName(username string) (hubName, error) {
	host, rest, ok := strings.Cut(username, "/")
	if !ok || host == "" {
		return hubName{}, errors.New("the user name is neither {hub host}/{device id}/?api-version=… nor " +
			"{ID scope}/registrations/{registration id}/api-version=…")
	}
	ids, _ := splitParameters(rest)
	deviceID, moduleID, _ := strings.Cut(strings.TrimSuffix(ids, "/"), "/")
	if deviceID == "" || strings.Contains(moduleID, "/") {
		return hubName{}, errors.New("the user name does not name a device: {hub host}/{device id}/?api-version=…")
	}
	return hubName{host, deviceID, moduleID}, nil
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
			return unescape(value)
		}
	}
	return ""
}

// unescape resolves %XX; a text that can't have been encoded stays as it is.
func unescape(text string) string {
	if decoded, err := url.PathUnescape(text); err == nil {
		return decoded
	}
	return text
}

// clientID is what the client id must be for the name.
func (n hubName) clientID() string {
	if n.moduleID != "" {
		return n.deviceID + "/" + n.moduleID
	}
	return n.deviceID
}

// as returns the name for a client id, which no client encodes: it tells whether the
// ids of the user name are percent-encoded, as a percent sign may also be in an id. It
// reports false when the client id is another.
func (n hubName) as(clientID string) (hubName, bool) {
	if n.clientID() == clientID {
		return n, true
	}
	decoded := hubName{n.host, unescape(n.deviceID), unescape(n.moduleID)}
	return decoded, decoded.clientID() == clientID
}
