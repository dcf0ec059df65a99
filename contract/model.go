package contract

import "strings"

// modelParameter names the model of IoT Plug and Play that a device has: in the user
// name, behind its ids (Azure, concepts-convention). Clients of the preview of 2020, such
// as that of Azure's SDK for Embedded C, have a longer name for it.
const (
	modelParameter = "model-id="
	previewPrefix  = "digital-twin-"
)

// ModelID returns the model that a user name of a hub's device announces, nil when it announces none. No
// device id has an ampersand or a slash, so a parameter is told by what is before it.
func ModelID(username string) *string {
	for at := 0; ; {
		next := strings.Index(username[at:], modelParameter)
		if next < 0 {
			return nil
		}
		at += next
		before := strings.TrimSuffix(strings.TrimSuffix(username[:at], previewPrefix), "?")
		behind := username[at+len(modelParameter):]
		at += len(modelParameter)
		if !strings.HasSuffix(before, "&") && !strings.HasSuffix(before, "/") {
			continue
		}
		value, _, _ := strings.Cut(behind, "&")
		value = Unescape(value)
		return &value
	}
}
