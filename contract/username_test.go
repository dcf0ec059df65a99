package contract

import (
	"fmt"
	"strings"
	"testing"
)

// The forms of user names that SDKs of all ages send, and what must not be taken for
// one. The ids end where the parameters begin, whatever the parameters hold.
func TestHubUserNames(t *testing.T) {
	for _, c := range []struct{ user, want string }{
		{"hub.local/d1/?api-version=2021-04-12&DeviceClientType=x", "{hub.local d1 }"},
		{"hub.local/d1/?DeviceClientType=py%2F2.14&api-version=2019-10-01", "{hub.local d1 }"},
		{"hub.local/d1/?api-version=2020-09-30&model-id=dtmi%3Aa%3Bb&DeviceClientType=x", "{hub.local d1 }"},
		{"hub.local/d1", "{hub.local d1 }"},
		{"hub.local/d1/", "{hub.local d1 }"},
		{"hub.local/d1/?", "{hub.local d1 }"},
		{"hub.local:8883/d1/?api-version=2021-04-12", "{hub.local:8883 d1 }"},

		// Without the question mark, or the slash before it.
		{"hub.local/d1/api-version=2021-04-12", "{hub.local d1 }"},
		{"hub.local/d1/api-version=2016-11-14&DeviceClientType=x", "{hub.local d1 }"},
		{"hub.local/d1/DeviceClientType=x&api-version=2016-11-14", "{hub.local d1 }"},
		{"hub.local/d1/api-version=2017-06-30/DeviceClientType=Microsoft.Azure.Devices.Client/1.5.1-preview-003",
			"{hub.local d1 }"},
		{"hub.local/d1/DeviceClientType=a/1.0/api-version=2016-11-14", "{hub.local d1 }"},
		{"hub.local/d1/clientid=x&api-version=2016-11-14", "{hub.local d1 }"},
		{"hub.local/d1?api-version=2021-04-12", "{hub.local d1 }"},
		{"hub.local/d1&api-version=2021-04-12", "{hub.local d1 }"},
		{"hub.local/d1/&api-version=2021-04-12", "{hub.local d1 }"},

		// Agents that are not encoded.
		{"hub.local/d1/?api-version=2020-09-30&c/1.3.1(ard;esp32)", "{hub.local d1 }"},
		{"hub.local/d1/?api-version=2020-09-30&DeviceClientType=c/1.3.1(ard;esp32)", "{hub.local d1 }"},
		{"hub.local/d1/?c/1.3.1(ard;esp32)&api-version=2020-09-30", "{hub.local d1 }"},
		{"hub.local/d1/?api-version=2020-09-30&DeviceClientType=a/b/?c=d/registrations/e", "{hub.local d1 }"},
		{"hub.local/d1/api-version=2020-09-30&DeviceClientType=c/1.3.1/(x)", "{hub.local d1 }"},

		// Modules.
		{"hub.local/d1/m1/?api-version=2020-09-30", "{hub.local d1 m1}"},
		{"hub.local/d1/m1/?api-version=2020-09-30&DeviceClientType=c/1.3.1(ard;esp32)", "{hub.local d1 m1}"},
		{"hub.local/d1/m1/api-version=2017-06-30/DeviceClientType=a/1.5.1-preview-003", "{hub.local d1 m1}"},
		{"hub.local/d1/m1/clientid=x&api-version=2017-06-30", "{hub.local d1 m1}"},
		{"hub.local/d1/m1", "{hub.local d1 m1}"},
		{"hub.local/d1/$edgeHub/?api-version=2020-09-30", "{hub.local d1 $edgeHub}"},

		// Ids with what may also be of the parameters.
		{"hub.local/d1?/?api-version=2020-09-30", "{hub.local d1? }"},
		{"hub.local/?d=1/?api-version=2020-09-30", "{hub.local ?d=1 }"},
		{"hub.local/api-version/?api-version=2020-09-30", "{hub.local api-version }"},
		{"hub.local/a=b/m=1/?api-version=2020-09-30", "{hub.local a=b m=1}"},
		{"hub.local/d%3F1/?api-version=2020-09-30", "{hub.local d%3F1 }"},

		{"hub.local/a/b/c/?api-version=2020-09-30", ""},
		{"hub.local//?api-version=2020-09-30", ""},
		{"hub.local/?api-version=2020-09-30", ""},
		{"hub.local/api-version=2020-09-30", ""},
		{"hub.local/&api-version=2020-09-30", ""},
		{"hub.local?api-version=2020-09-30&DeviceClientType=a/b", // there is no such hub
			"{hub.local?api-version=2020-09-30&DeviceClientType=a b }"},
		{"/d1", ""},
		{"hub.local", ""},
		{"", ""},
	} {
		name, err := ParseHubName(c.user)
		if got := fmt.Sprint(name); err == nil && got != c.want || err != nil && c.want != "" {
			t.Errorf("%q is %s, error %v; want %q", c.user, got, err, c.want)
		}
	}
}

// The client id, which nobody encodes, tells whether the ids of a user name are.
func TestClientIDs(t *testing.T) {
	for _, c := range []struct {
		user, clientID, want string
	}{
		{"hub.local/d1/?api-version=1", "d1", "{hub.local d1 }"},
		{"hub.local/d%3F1/?api-version=1", "d?1", "{hub.local d?1 }"},
		{"hub.local/d%3f1/m%3A1/?api-version=1", "d?1/m:1", "{hub.local d?1 m:1}"},
		{"hub.local/d%3F1/?api-version=1", "d%3F1", "{hub.local d%3F1 }"},
		{"hub.local/100%/?api-version=1", "100%", "{hub.local 100% }"},
		{"hub.local/d1/m1/?api-version=1", "d1/m1", "{hub.local d1 m1}"},
		{"hub.local/d1/?api-version=1", "D1", ""},
		{"hub.local/d1/m1/?api-version=1", "d1", ""},
		{"hub.local/d%2Fm/?api-version=1", "d", ""},
	} {
		parsed, err := ParseHubName(c.user)
		if err != nil {
			t.Fatal(err)
		}
		name, ok := parsed.As(c.clientID)
		if got := fmt.Sprint(name); ok && got != c.want || ok == (c.want == "") {
			t.Errorf("%q of the client %q is %s, %v; want %q", c.user, c.clientID, got, ok, c.want)
		}
	}
}

func TestProvisioningUserNames(t *testing.T) {
	for _, c := range []struct{ user, want string }{
		{"0ne1/registrations/d1/api-version=2019-03-31&ClientVersion=x%2F1", "{0ne1 d1 2019-03-31}"},
		{"0ne1/registrations/d1/ClientVersion=x%2F1&api-version=2019-03-31", "{0ne1 d1 2019-03-31}"},
		{"0ne1/registrations/d1/?api-version=2019-03-31", "{0ne1 d1 2019-03-31}"},
		{"0ne1/registrations/d1?api-version=2019-03-31", "{0ne1 d1 2019-03-31}"},
		{"0ne1/registrations/d1&api-version=2019-03-31", "{0ne1 d1 2019-03-31}"},
		{"0ne1/registrations/d1/api-version=2019-03-31&ClientVersion=c/1.3.1(ard;esp32)", "{0ne1 d1 2019-03-31}"},
		{"0ne1/registrations/d1/ClientVersion=c/1.3.1/registrations/x&api-version=2019-03-31", "{0ne1 d1 2019-03-31}"},
		{"0ne1/registrations/d1/api-version=2019-03-31/ClientVersion=c/1.3.1", "{0ne1 d1 2019-03-31}"},
		{"0ne1/registrations/d1/API-Version=2019-03-31&api-version=2021-06-01", "{0ne1 d1 2019-03-31}"},
		{"0ne1/registrations/a%3Ab/api-version=2019-03-31", "{0ne1 a:b 2019-03-31}"},
		{"0ne1/Registrations/d1/api-version=2019-03-31", "{0ne1 d1 2019-03-31}"},
		{"0ne1/REGISTRATIONS/d1", "{0ne1 d1 }"},
		{"0ne1/registrationsx/d1", ""},
		{"0ne1/registrations", ""},
		{"0ne1/registrations/d1", "{0ne1 d1 }"},
		{"0ne1/registrations/", "{0ne1  }"},
		{"hub.local/registrations/?api-version=2021-04-12", "{hub.local  2021-04-12}"}, // or a device of a hub
		{"a/b/registrations/d1/", ""},
		{"hub.local/d1/?api-version=1", ""},
		{"hub.local/d1/?api-version=1&DeviceClientType=a/registrations/b", ""},
	} {
		name, ok := ParseProvisioningName(c.user)
		if got := fmt.Sprint(name); ok && got != c.want || !ok && c.want != "" {
			t.Errorf("%q is %s, %v; want %q", c.user, got, ok, c.want)
		}
	}
	name := ProvisioningName{RegistrationID: "Pump:1"}
	for clientID, want := range map[string]bool{
		"Pump:1": true, "pump:1": true, "pump%3A1": true, "pump": false, "pump:12": false, "": false,
	} {
		if got := name.Matches(clientID); got != want {
			t.Errorf("a device %q may connect as %q: %v", name.RegistrationID, clientID, got)
		}
	}
}

// What a client writes is read as what was meant.
func TestUserNamesAreRead(t *testing.T) {
	registering := ProvisioningName{"0ne1", "a:b", "2019-03-31"}
	username := registering.Username("agent/1")
	if read, ok := ParseProvisioningName(username); !ok || read != registering ||
		username != "0ne1/registrations/a:b/api-version=2019-03-31&ClientVersion=agent%2F1" {
		t.Errorf("%s is read as %v, %v", username, read, ok)
	}
	for want, name := range map[string]HubName{
		"hub.local/a?b/?api-version=2021-04-12&DeviceClientType=agent%2F1":        {"hub.local", "a?b", ""},
		"hub.local/d/$edgeHub/?api-version=2021-04-12&DeviceClientType=agent%2F1": {"hub.local", "d", "$edgeHub"},
	} {
		username := name.Username("2021-04-12", "agent/1")
		if read, err := ParseHubName(username); err != nil || read != name || username != want {
			t.Errorf("%s is read as %v, error %v", username, read, err)
		}
	}
}

// Whatever the parameters hold, the ids before them stay what they are; and whatever
// comes, what is found has a host and a device.
func FuzzUserName(f *testing.F) {
	f.Add("d1", "", "api-version=2021-04-12")
	f.Add("d1", "m1", "api-version=2020-09-30&c/1.3.1(ard;esp32)")
	f.Add("d?1", "m=1", "api-version=1/?x=/registrations/&&")
	f.Add("0ne1", "registrations", "api-version=2019-03-31")
	f.Fuzz(func(t *testing.T, deviceID, moduleID, parameters string) {
		username := "hub.local/" + deviceID
		if moduleID != "" {
			username += "/" + moduleID
		}
		username += "/?" + parameters
		name, err := ParseHubName(username)
		if err == nil && (name.Host == "" || name.DeviceID == "") {
			t.Errorf("%q names %+v", username, name)
		}
		ParseProvisioningName(username)
		if deviceID == "" || !isID(deviceID) || !isID(moduleID) {
			return
		}
		if err != nil || name.DeviceID != deviceID || name.ModuleID != moduleID {
			t.Errorf("%q names %+v, error %v; want the device %q and the module %q", username, name, err, deviceID,
				moduleID)
		}
	})
}

// isID reports whether a text may be an id in the registry and can't be taken for
// parameters.
func isID(text string) bool {
	for _, name := range parameterNames {
		if strings.Contains(strings.ToLower(text), strings.ToLower(name)+"=") {
			return false
		}
	}
	return !strings.ContainsFunc(text, func(r rune) bool {
		alphanumeric := r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		return !alphanumeric && !strings.ContainsRune("-:.+%_#*!(),=@;$'", r)
	})
}
