package query

import (
	"strconv"
	"strings"
)

// The names of members that are Azure's, by those above them. They are found however a
// query spells them, and answered as they are here. Those of tags and properties are the
// operator's and the device's, and exact.
var twinNames = names{
	"": {"deviceId", "moduleId", "etag", "deviceEtag", "status", "statusReason", "statusUpdateTime", "connectionState",
		"lastActivityTime", "cloudToDeviceMessageCount", "authenticationType", "x509Thumbprint", "modelId", "version",
		"tags", "properties", "capabilities", "deviceScope", "parentScopes", "configurations"},
	"properties":     {"desired", "reported"},
	"capabilities":   {"iotEdge"},
	"x509Thumbprint": {"primaryThumbprint", "secondaryThumbprint"},
}

var jobNames = names{
	"": {"deviceId", "moduleId", "jobId", "jobType", "status", "startTimeUtc", "endTimeUtc", "createdDateTimeUtc",
		"lastUpdatedDateTimeUtc", "outcome", "error"},
	"outcome": {"deviceMethodResponse"},
	"error":   {"code", "description"},
}

// jobAliases are names by which Azure's documentation asks for members of others.
var jobAliases = map[string]string{
	"createdtimeutc":     "createdDateTimeUtc",
	"lastupdatedtimeutc": "lastUpdatedDateTimeUtc",
}

type names map[string][]string

// canonical returns a path without the source that may stand in front of it, and with the
// names that are Azure's as Azure spells them.
func canonical(source Source, path Path) Path {
	if len(path) > 1 && strings.EqualFold(path[0], string(Devices)) {
		path = path[1:]
		if rest, ok := strings.CutPrefix(string(source), "devices."); ok && len(path) > 1 &&
			strings.EqualFold(path[0], rest) {
			path = path[1:]
		}
	}
	known := twinNames
	if source == Jobs {
		known = jobNames
	}
	spelled := make(Path, len(path))
	above := ""
	for i, name := range path {
		if alias, ok := jobAliases[strings.ToLower(name)]; ok && source == Jobs && i == 0 {
			name = alias
		}
		spelled[i] = known.spell(above, name, i < 2)
		above = spelled[i]
	}
	return spelled
}

func (n names) spell(above, name string, fixed bool) string {
	if !fixed {
		return name
	}
	for _, known := range n[above] {
		if strings.EqualFold(known, name) {
			return known
		}
	}
	return name
}

// aggregateName is the member that the nth aggregate without an alias becomes.
func aggregateName(n int) string { return "$" + strconv.Itoa(n) }
