package credential

import (
	"fmt"
	"strings"

	"github.com/berth-iot/berth/fault"
)

// ConnectionString names a service or device and the key to reach it, as
// Azure's tools write it: Name=value pairs joined by semicolons.
type ConnectionString struct {
	HostName            string
	DeviceID            string // of a device's connection string
	ModuleID            string // of that of a module of the device
	SharedAccessKeyName string // the policy, of a service's connection string
	SharedAccessKey     string // base64
}

// ParseConnectionString reads a connection string. Names it does not know are
// left aside. Errors never quote the key.
func ParseConnectionString(text string) (ConnectionString, error) {
	var c ConnectionString
	for field := range strings.SplitSeq(strings.TrimSpace(text), ";") {
		if field == "" {
			continue
		}
		name, value, ok := strings.Cut(field, "=")
		if !ok {
			return c, fault.NewReason("a connection string is Name=value pairs joined by semicolons")
		}
		switch strings.ToLower(name) {
		case "hostname":
			c.HostName = value
		case "deviceid":
			c.DeviceID = value
		case "moduleid":
			c.ModuleID = value
		case "sharedaccesskeyname":
			c.SharedAccessKeyName = value
		case "sharedaccesskey":
			c.SharedAccessKey = value
		}
	}
	if c.HostName == "" {
		return c, fault.NewReason("the connection string has no HostName")
	}
	if c.SharedAccessKey == "" {
		return c, fault.NewReason("the connection string has no SharedAccessKey")
	}
	if c.SharedAccessKeyName == "" && c.DeviceID == "" {
		return c, fault.NewReason("the connection string has neither SharedAccessKeyName (a service's) " +
			"nor DeviceId (a device's)")
	}
	return c, nil
}

// Check returns why no parser would read the connection string as it is meant, nil if they
// do: a field ends at the next semicolon, which the id of a device may have.
func (c ConnectionString) Check() error {
	if strings.Contains(c.DeviceID, ";") {
		return fault.NewReason("a connection string can't carry the device id %.128q, as it would end at the semicolon",
			c.DeviceID)
	}
	if strings.Contains(c.ModuleID, ";") {
		return fault.NewReason("a connection string can't carry the module id %.128q, as it would end at the semicolon",
			c.ModuleID)
	}
	return nil
}

// String writes the connection string, key included.
func (c ConnectionString) String() string {
	if c.ModuleID != "" {
		return fmt.Sprintf("HostName=%s;DeviceId=%s;ModuleId=%s;SharedAccessKey=%s", c.HostName, c.DeviceID, c.ModuleID,
			c.SharedAccessKey)
	}
	if c.DeviceID != "" {
		return fmt.Sprintf("HostName=%s;DeviceId=%s;SharedAccessKey=%s", c.HostName, c.DeviceID, c.SharedAccessKey)
	}
	return fmt.Sprintf("HostName=%s;SharedAccessKeyName=%s;SharedAccessKey=%s", c.HostName, c.SharedAccessKeyName,
		c.SharedAccessKey)
}
