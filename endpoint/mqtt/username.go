package mqtt

import (
	"errors"
	"net/url"
	"strings"
)

// provisioningName is the user name of a device that registers:
//
//	{idScope}/registrations/{registrationId}/api-version={version}[&ClientVersion={agent}]
type provisioningName struct{ idScope, registrationID, apiVersion string }

func parseProvisioningName(username string) (provisioningName, bool) {
	scope, rest, ok := strings.Cut(username, "/registrations/")
	if !ok || strings.Contains(scope, "/") {
		return provisioningName{}, false
	}
	id, parameters, _ := strings.Cut(rest, "/")
	version, _ := query([]byte(strings.TrimPrefix(parameters, "?")), "api-version")
	if decoded, err := url.PathUnescape(id); err == nil {
		id = decoded
	}
	return provisioningName{scope, id, string(version)}, true
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
		return hubName{}, errors.New("the user name is neither {hub host}/{device id}/?api-version=… nor {ID scope}/registrations/{registration id}/api-version=…")
	}
	parts := strings.Split(rest, "/")
	// The last part holds the parameters. A device id may contain a question
	// mark, so it is told by where it stands and how it starts.
	if last := parts[len(parts)-1]; len(parts) > 1 && (last == "" || last[0] == '?' || strings.HasPrefix(last, "api-version=")) {
		parts = parts[:len(parts)-1]
	}
	name := hubName{host: host, deviceID: parts[0]}
	switch {
	case name.deviceID == "" || len(parts) > 2:
		return hubName{}, errors.New("the user name does not name a device: {hub host}/{device id}/?api-version=…")
	case len(parts) == 2:
		name.moduleID = parts[1]
	}
	return name, nil
}

// clientID is what the client id must be for the name.
func (n hubName) clientID() string {
	if n.moduleID != "" {
		return n.deviceID + "/" + n.moduleID
	}
	return n.deviceID
}
