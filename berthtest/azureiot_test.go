package berthtest_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/berthtest"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/device"
)

// The tests of this file send what the extension azure-iot 0.25.0 of Azure's CLI sends
// for its commands: methods, addresses, headers and bodies, with the quotes, spaces and
// empty objects that it writes. The extension is in no package registry.

// azureCLI is a command line that is logged in to one of the services.
type azureCLI struct {
	*testing.T
	client  *http.Client
	service credential.ConnectionString
	version string // of the API
}

// newAzureCLI returns one for a connection string.
func newAzureCLI(t *testing.T, berth *berthtest.Server, connectionString, version string) azureCLI {
	t.Helper()
	service, err := credential.ParseConnectionString(connectionString)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: berth.RootCAs},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, berth.HTTPSAddress())
		}}
	t.Cleanup(transport.CloseIdleConnections)
	return azureCLI{t, &http.Client{Transport: transport, Timeout: 20 * time.Second}, service, version}
}

// command runs the steps of a command as a test of its own.
func (az azureCLI) command(name string, steps func(az azureCLI)) {
	az.Helper()
	if !az.Run(name, func(t *testing.T) { az.T = t; steps(az) }) {
		az.FailNow() // what comes after builds on it
	}
}

// token is a shared access signature as the extension makes it, for a resource and a
// policy, or a device when that is "".
func (az azureCLI) token(resource, policy, key string) string {
	az.Helper()
	secret, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		az.Fatal(err)
	}
	expiry := fmt.Sprint(time.Now().Add(10 * time.Minute).Unix())
	mac := hmac.New(sha256.New, secret)
	io.WriteString(mac, url.QueryEscape(resource)+"\n"+expiry)
	token := "SharedAccessSignature sr=" + url.QueryEscape(resource) + "&sig=" +
		url.QueryEscape(base64.StdEncoding.EncodeToString(mac.Sum(nil))) + "&se=" + expiry
	if policy != "" {
		token += "&skn=" + policy
	}
	return token
}

// answer is what the extension takes from an answer.
type answer struct {
	text   string
	header http.Header
	fields map[string]any
	items  []any
}

// send sends one request and demands the status that the extension takes for success.
// headers are name and value by turns.
func (az azureCLI) send(method, path, body string, status int, headers ...string) (got answer) {
	az.Helper()
	request, err := http.NewRequestWithContext(az.Context(), method,
		"https://"+az.service.HostName+path+"?api-version="+az.version, strings.NewReader(body))
	if err != nil {
		az.Fatal(err)
	}
	for name, value := range map[string]string{
		"Content-Type": "application/json; charset=utf-8", "Accept": "*/*", "accept-language": "en-US",
		"Connection": "keep-alive",
		"User-Agent": "python/3.11.7 (Linux-x86_64-with-glibc2.36) msrest/0.7.1 msrest_azure/0.6.4 " +
			"IoTPlatformCliExtension/0.25.0",
		"x-ms-client-request-id": "6f6f2c1e-cb93-11ef-8a3c-0242ac110002",
		"Authorization": az.token(az.service.HostName, az.service.SharedAccessKeyName,
			az.service.SharedAccessKey),
	} {
		request.Header.Set(name, value)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := az.client.Do(request)
	if err != nil {
		az.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		az.Fatal(err)
	}
	if response.StatusCode != status {
		az.Fatalf("%s %s is answered %d %s, want %d", method, path, response.StatusCode, text, status)
	}
	got.text, got.header = string(text), response.Header
	var decoded any
	if len(text) > 0 {
		if err := json.Unmarshal(text, &decoded); err != nil {
			az.Fatalf("%s %s is answered %s: %v", method, path, text, err)
		}
	}
	got.fields, _ = decoded.(map[string]any)
	got.items, _ = decoded.([]any)
	return got
}

// query sends a query page by page until there is no continuation, as often as it takes.
func (az azureCLI) query(path, body string, headers ...string) (items []any) {
	az.Helper()
	headers = append([]string{"Cache-Control", "no-cache, must-revalidate"}, headers...)
	for continued := headers; ; {
		got := az.send("POST", path, body, 200, continued...)
		if got.items == nil {
			az.Fatalf("%s is answered %s, which is no list", path, got.text)
		}
		items = append(items, got.items...)
		token := got.header.Get("x-ms-continuation")
		if token == "" {
			return items
		}
		continued = append(headers[:len(headers):len(headers)], "x-ms-continuation", token)
	}
}

// at returns what stands at a path of names in an answer.
func (a answer) at(path string) any {
	var value any = a.fields
	for name := range strings.SplitSeq(path, ".") {
		object, _ := value.(map[string]any)
		value = object[name]
	}
	return value
}

// has demands that values stand in an answer, path and value by turns.
func (az azureCLI) has(got answer, pairs ...any) {
	az.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if value := got.at(pairs[i].(string)); fmt.Sprint(value) != fmt.Sprint(pairs[i+1]) {
			az.Errorf("%s is %v, want %v, in %s", pairs[i], value, pairs[i+1], got.text)
		}
	}
}

// encode writes a value as the extension's library does.
func (az azureCLI) encode(value any) string {
	az.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		az.Fatal(err)
	}
	return string(text)
}

const (
	enrollments = "/enrollments/"
	groups      = "/enrollmentGroups/"

	// queryOfAll is what the lists of the extension send: it gives its library an
	// object for the text of the query, which the library makes a text of.
	queryOfAll = `{"query": "{'additional_properties': {}, 'query': 'SELECT *'}"}`

	// settings are what the extension sends with each enrollment unless told otherwise.
	settings = `"capabilities": {"iotEdge": false}, "initialTwin": {"tags": {}, "properties": {"desired": {}}}, ` +
		`"reprovisionPolicy": {"updateHubAssignment": true, "migrateDeviceData": true}`
)

func TestAzureIoTExtensionDPS(t *testing.T) {
	berth := berthtest.Start(t)
	info := berth.Info()
	az := newAzureCLI(t, berth, info.ProvisioningConnectionString, "2021-10-01")
	hubHost := info.Hubs[0].Host
	register := func(id, key string) (device.Registration, error) {
		token := az.token(info.IDScope+"/registrations/"+id, "registration", key)
		return device.Provision(t.Context(), device.ProvisioningOptions{Host: berth.MQTTAddress(),
			IDScope: info.IDScope, RegistrationID: id, Token: token, RootCAs: berth.RootCAs})
	}

	az.command("enrollment create", func(az azureCLI) {
		keys := az.send("PUT", enrollments+"keys", `{"registrationId": "keys", "optionalDeviceInformation": {}, `+
			`"attestation": {"type": "symmetricKey", "symmetricKey": {}}, `+settings+`}`, 200)
		az.has(keys, "registrationId", "keys", "provisioningStatus", "enabled", "attestation.type", "symmetricKey")
		if made, _ := keys.at("attestation.symmetricKey.primaryKey").(string); !credential.ValidKey(made) ||
			keys.at("etag") == nil {
			az.Errorf("created is %s", keys.text)
		}
		certificate, _, err := credential.NewDeviceCertificate(credential.DeviceCertificate{CommonName: "x509",
			KeyType: credential.EC256, NotBefore: time.Now(), Validity: time.Hour})
		if err != nil {
			az.Fatal(err)
		}
		x509 := az.send("PUT", enrollments+"x509",
			`{"registrationId": "x509", "deviceId": "thing", "optionalDeviceInformation": {"model": "A1"}, `+
				`"attestation": {"type": "x509", "x509": {"clientCertificates": {"primary": {"certificate": `+
				az.encode(strings.TrimSpace(string(certificate)))+`}}}}, `+
				`"capabilities": {"iotEdge": false}, "initialTwin": {"tags": {"site": "harbour"}, "properties": {"desired": {"interval": 5}}}, `+
				`"provisioningStatus": "disabled", "reprovisionPolicy": {"updateHubAssignment": false, "migrateDeviceData": false}, `+
				`"allocationPolicy": "static", "iotHubs": [`+az.encode(hubHost)+`]}`, 200)
		az.has(x509, "deviceId", "thing", "provisioningStatus", "disabled", "allocationPolicy", "static", "iotHubs",
			[]any{hubHost},
			"initialTwin.tags.site", "harbour", "optionalDeviceInformation.model", "A1",
			"attestation.x509.clientCertificates.primary.info.subjectName", "CN=x509")
		az.send("PUT", enrollments+"nearest", `{"registrationId": "nearest", "optionalDeviceInformation": {}, `+
			`"attestation": {"type": "symmetricKey", "symmetricKey": {}}, `+settings+
			`, "allocationPolicy": "geoLatency"}`, 200)
		az.send("PUT", enrollments+"keys",
			`{"registrationId": "keys", "attestation": {"type": "symmetricKey", "symmetricKey": {}}}`, 409)
	})
	az.command("enrollment list", func(az azureCLI) {
		if got := az.query(enrollments+"query", queryOfAll); len(got) != 3 {
			az.Errorf("the list is %v", got)
		}
		if got := az.query(enrollments+"query", queryOfAll, "x-ms-max-item-count", "1"); len(got) != 3 {
			az.Errorf("the list in pages of one is %v", got)
		}
	})
	var key string
	az.command("enrollment show", func(az azureCLI) {
		shown := az.send("GET", enrollments+"keys", "", 200)
		if strings.Contains(shown.text, `"primaryKey":"`) {
			az.Errorf("keys are shown unasked: %s", shown.text)
		}
		keys := az.send("POST", enrollments+"keys/attestationmechanism", "", 200) // with --show-keys
		az.has(keys, "type", "symmetricKey")
		key, _ = keys.at("symmetricKey.primaryKey").(string)
	})
	az.command("enrollment update", func(az azureCLI) {
		read := az.send("GET", enrollments+"keys", "", 200)
		mechanism := az.send("POST", enrollments+"keys/attestationmechanism", "", 200)
		body := `{"registrationId": "keys", "optionalDeviceInformation": {}, "attestation": ` + mechanism.text +
			`, "capabilities": {"iotEdge": true}, ` +
			`"initialTwin": {"tags": {}, "properties": {"desired": {}}}, "etag": ` + az.encode(read.at("etag")) +
			`, "provisioningStatus": "enabled", ` +
			`"reprovisionPolicy": {"updateHubAssignment": true, "migrateDeviceData": true}}`
		updated := az.send("PUT", enrollments+"keys", body, 200, "If-Match", "*")
		az.has(updated, "capabilities.iotEdge", true, "attestation.symmetricKey.primaryKey", key)
		az.send("PUT", enrollments+"keys", body, 412, "If-Match", fmt.Sprint(read.at("etag"))) // with --etag
		az.send("PUT", enrollments+"keys", body, 200, "If-Match", fmt.Sprint(updated.at("etag")))

		// Of a certificate it sends back what it was told, with times of its own spelling.
		read = az.send("GET", enrollments+"x509", "", 200)
		attestation := regexp.MustCompile(`\.\d{7}Z"`).ReplaceAllString(az.encode(read.at("attestation")), `.000Z"`)
		updated = az.send("PUT", enrollments+"x509",
			`{"registrationId": "x509", "deviceId": "thing", "attestation": `+attestation+
				`, "etag": `+az.encode(read.at("etag"))+
				`, "provisioningStatus": "enabled", "allocationPolicy": "static", "iotHubs": [`+az.encode(hubHost)+`]}`,
			200, "If-Match", "*")
		az.has(updated, "provisioningStatus", "enabled",
			"attestation.x509.clientCertificates.primary.info.subjectName", "CN=x509")
	})
	az.command("enrollment-group create", func(az azureCLI) {
		created := az.send("PUT", groups+"meters",
			`{"enrollmentGroupId": "meters", "attestation": {"type": "symmetricKey", "symmetricKey": {}}, `+settings+
				`}`, 200)
		az.has(created, "enrollmentGroupId", "meters", "provisioningStatus", "enabled")
	})
	az.command("enrollment-group list", func(az azureCLI) {
		if got := az.query(groups+"query", queryOfAll, "x-ms-max-item-count", "1000"); len(got) != 1 {
			az.Errorf("the list is %v", got)
		}
	})
	var derived string
	az.command("enrollment-group compute-device-key", func(az azureCLI) {
		az.has(az.send("GET", groups+"meters", "", 200), "enrollmentGroupId", "meters")
		mechanism := az.send("POST", groups+"meters/attestationmechanism", "", 200)
		az.has(mechanism, "type", "symmetricKey")
		secret, err := base64.StdEncoding.DecodeString(mechanism.at("symmetricKey.primaryKey").(string))
		if err != nil {
			az.Fatal(err)
		}
		mac := hmac.New(sha256.New, secret)
		io.WriteString(mac, "meter-1")
		derived = base64.StdEncoding.EncodeToString(mac.Sum(nil))
	})
	az.command("enrollment-group registration", func(az azureCLI) {
		if got := az.query("/registrations/meters/query", ""); len(got) != 0 {
			az.Errorf("the list is %v before a device has registered", got)
		}
		for id, key := range map[string]string{"meter-1": derived, "keys": key} {
			if registration, err := register(id, key); err != nil || registration.Status != "assigned" {
				az.Fatalf("%s registers with %+v, error %v", id, registration, err)
			}
		}
		if got := az.query("/registrations/meters/query", ""); len(got) != 1 {
			az.Errorf("the list is %v", got)
		}
		shown := az.send("GET", "/registrations/meter-1", "", 200)
		az.has(shown, "registrationId", "meter-1", "status", "assigned", "assignedHub", hubHost, "deviceId", "meter-1")
		az.send("DELETE", "/registrations/meter-1", "", 412, "If-Match", "AAAA")
		az.send("DELETE", "/registrations/meter-1", "", 204, "If-Match", "*")
		az.has(az.send("GET", "/registrations/meter-1", "", 404), "errorCode", 404202)
		az.has(az.send("GET", "/registrations/keys", "", 200), "status", "assigned")
	})
	az.command("enrollment-group update, delete", func(az azureCLI) {
		mechanism := az.send("POST", groups+"meters/attestationmechanism", "", 200)
		az.has(az.send("PUT", groups+"meters",
			`{"enrollmentGroupId": "meters", "attestation": `+mechanism.text+`, "provisioningStatus": "disabled", `+
				settings+`}`, 200, "If-Match", "*"), "provisioningStatus", "disabled")
		az.send("DELETE", groups+"meters", "", 204, "If-Match", "*")
		az.has(az.send("GET", groups+"meters", "", 404), "errorCode", 404204)
	})
	az.command("enrollment delete", func(az azureCLI) {
		az.send("DELETE", enrollments+"keys", "", 204, "If-Match", "*")
		refused := az.send("DELETE", enrollments+"keys", "", 404, "If-Match", "*")
		az.has(refused, "errorCode", 404201) // which the command prints, with the message
		if refused.at("message") == "" || refused.at("trackingId") == nil {
			az.Errorf("the refusal is %s", refused.text)
		}
	})
}

func TestAzureIoTExtensionHub(t *testing.T) {
	berth := berthtest.Start(t)
	az := newAzureCLI(t, berth, berth.Info().Hubs[0].ConnectionString, "2024-03-31")
	host := az.service.HostName

	az.command("device-identity create", func(az azureCLI) {
		created := az.send("PUT", "/devices/d1",
			`{"deviceId": "d1", "status": "enabled", "authentication": {"symmetricKey": {}, "type": "sas"}, "capabilities": {"iotEdge": false}}`, 200)
		az.has(created, "deviceId", "d1", "status", "enabled", "authentication.type", "sas", "connectionState",
			"Disconnected")
		thumbprint := strings.Repeat("0A", 20)
		az.has(az.send("PUT", "/devices/d2",
			`{"deviceId": "d2", "status": "disabled", "statusReason": "spare", "authentication": {"x509Thumbprint": {"primaryThumbprint": "`+thumbprint+
				`"}, "type": "selfSigned"}, "capabilities": {"iotEdge": false}}`, 200),
			"authentication.x509Thumbprint.primaryThumbprint", thumbprint, "statusReason", "spare")
		edge := az.send("PUT", "/devices/edge",
			`{"deviceId": "edge", "status": "enabled", "authentication": {"type": "certificateAuthority"}, "capabilities": {"iotEdge": true}, "parentScopes": []}`, 200)
		az.send("PUT", "/devices/child",
			`{"deviceId": "child", "status": "enabled", "authentication": {"symmetricKey": {}, "type": "sas"}, "capabilities": {"iotEdge": false}, "deviceScope": `+
				az.encode(edge.at("deviceScope"))+`}`, 200)
		refused := az.send("PUT", "/devices/d1",
			`{"deviceId": "d1", "status": "enabled", "authentication": {"symmetricKey": {}, "type": "sas"}, "capabilities": {"iotEdge": false}}`, 409)
		if !strings.HasPrefix(fmt.Sprint(refused.at("Message")), "ErrorCode:DeviceAlreadyExists;") {
			az.Errorf("the refusal is %s", refused.text)
		}
	})
	az.command("device-identity list, device-twin list", func(az azureCLI) {
		twins := az.query("/devices/query", `{"query": "select * from devices"}`, "x-ms-max-item-count", "1000")
		if len(twins) != 4 {
			az.Errorf("the list is %v", twins)
		}
		if got := az.query("/devices/query", `{"query": "select * from devices"}`, "x-ms-max-item-count",
			"1"); len(got) != 4 {
			az.Errorf("the list in pages of one is %v", got)
		}
		edges := az.query("/devices/query", `{"query": "select * from devices where capabilities.iotEdge = true"}`)
		if len(edges) != 1 {
			az.Errorf("the list of edge devices is %v", edges)
		}
	})
	var shown answer
	az.command("device-identity show, connection-string show", func(az azureCLI) {
		shown = az.send("GET", "/devices/d1", "", 200)
		az.has(shown, "deviceId", "d1", "etag", strings.Trim(shown.header.Get("ETag"), `"`), "statusReason", nil,
			"lastActivityTime", "0001-01-01T00:00:00Z")
		for _, name := range []string{"primaryKey",
			"secondaryKey"} { // of which it makes HostName=…;DeviceId=…;SharedAccessKey=…
			if key, _ := shown.at("authentication.symmetricKey." + name).(string); !credential.ValidKey(key) {
				az.Errorf("the %s is %q", name, key)
			}
		}
	})
	az.command("generate-sas-token", func(az azureCLI) {
		key := shown.at("authentication.symmetricKey.secondaryKey").(string)
		client, err := device.Connect(az.Context(), device.HubOptions{Host: berth.MQTTAddress(), DeviceID: "d1",
			SASKey: key, RootCAs: berth.RootCAs})
		if err != nil {
			az.Fatal(err)
		}
		if err := client.Close(); err != nil {
			az.Error(err)
		}
		az.send("GET", "/devices/d1", "", 200, "Authorization", az.token(host+"/devices/d1",
			az.service.SharedAccessKeyName, az.service.SharedAccessKey))
		az.send("GET", "/devices/d1", "", 401, "Authorization", az.token(host+"/devices/d2",
			az.service.SharedAccessKeyName, az.service.SharedAccessKey))
		az.send("GET", "/devices/d1", "", 401, "Authorization", az.token(host+"/devices/d1", "",
			key)) // it is for devices
	})
	az.command("device-identity update", func(az azureCLI) {
		authentication := `{"symmetricKey": {"primaryKey": ` +
			az.encode(shown.at("authentication.symmetricKey.primaryKey")) + `, "secondaryKey": ` +
			az.encode(shown.at("authentication.symmetricKey.secondaryKey")) + `}, "type": "sas"}`
		body := `{"deviceId": "d1", "etag": "*", "status": "disabled", "statusReason": "repair", "authentication": ` +
			authentication + `, "capabilities": {"iotEdge": false}}`
		updated := az.send("PUT", "/devices/d1", body, 200, "If-Match", `"*"`)
		az.has(updated, "status", "disabled", "statusReason", "repair", "authentication.symmetricKey.primaryKey",
			shown.at("authentication.symmetricKey.primaryKey"))
		if at := fmt.Sprint(updated.at("statusUpdatedTime")); !regexp.MustCompile(
			`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z$`).MatchString(at) {
			az.Errorf("the status was updated at %s", at)
		}
		az.send("PUT", "/devices/d1", body, 412, "If-Match", `"`+fmt.Sprint(shown.at("etag"))+`"`) // with --etag
	})
	az.command("device-identity renew-key", func(az azureCLI) {
		before := az.send("GET", "/devices/d1", "", 200)
		renewed := az.send("POST", "/devices/keys/regenerate",
			`{"policyKey": "primaryKey", "devices": [{"id": "d1"}]}`, 200)
		after := az.send("GET", "/devices/d1", "", 200)
		const primary, secondary = "authentication.symmetricKey.primaryKey", "authentication.symmetricKey.secondaryKey"
		if before.at(primary) == after.at(primary) || before.at(secondary) != after.at(secondary) ||
			len(renewed.at("rotatedKeys").([]any)) != 1 || len(renewed.at("errors").([]any)) != 0 {
			az.Errorf("the answer is %s, the device %s before and %s after", renewed.text, before.text, after.text)
		}
		// With --key-type swap it sends the identity back as it read it, with the hub's name.
		identity := after.fields
		identity["hub"] = host
		identity["authentication"] = map[string]any{"symmetricKey": map[string]any{"primaryKey": after.at(secondary),
			"secondaryKey": after.at(primary)}, "type": "sas"}
		swapped := az.send("PUT", "/devices/d1", az.encode(identity), 200, "If-Match", `"*"`)
		if swapped.at(primary) != before.at(secondary) {
			az.Errorf("swapped is %s", swapped.text)
		}
	})
	az.command("device-identity parent", func(az azureCLI) {
		child, edge := az.send("GET", "/devices/child", "", 200), az.send("GET", "/devices/edge", "", 200)
		az.has(child, "parentScopes", []any{edge.at("deviceScope")})
		child.fields["hub"], child.fields["deviceScope"] = host, edge.at("deviceScope")
		az.send("PUT", "/devices/child", az.encode(child.fields), 200, "If-Match", `"`+fmt.Sprint(child.at("etag"))+`"`)

		// With --force it gives a child another parent, and children remove takes it away.
		// Of parentScopes it sends what it has read.
		second := az.send("PUT", "/devices/edge2",
			`{"deviceId": "edge2", "status": "enabled", "authentication": {"type": "certificateAuthority"}, `+
				`"capabilities": {"iotEdge": true}, "parentScopes": []}`, 200)
		for _, wanted := range []any{second.at("deviceScope"), ""} {
			child = az.send("GET", "/devices/child", "", 200)
			child.fields["hub"], child.fields["deviceScope"] = host, wanted
			az.send("PUT", "/devices/child", az.encode(child.fields), 200, "If-Match",
				`"`+fmt.Sprint(child.at("etag"))+`"`)
			child = az.send("GET", "/devices/child", "", 200)
			if wanted == "" {
				az.has(child, "deviceScope", nil, "parentScopes", nil)
				continue
			}
			az.has(child, "deviceScope", wanted, "parentScopes", []any{wanted})
		}
	})
	az.command("device-twin", func(az azureCLI) {
		az.has(az.send("GET", "/twins/d1", "", 200), "deviceId", "d1", "status", "disabled",
			"properties.desired.$version", 1)
		updated := az.send("PATCH", "/twins/d1",
			`{"tags": {"site": {"floor": 2}}, "properties": {"desired": {"interval": 5}}}`, 200, "If-Match", `"*"`)
		az.has(updated, "tags.site.floor", 2, "properties.desired.interval", 5, "properties.desired.$version", 2)
		az.send("PATCH", "/twins/d1", `{"tags": {"site": null}}`, 412, "If-Match", `"AAAA"`)
		replaced := az.send("PUT", "/twins/d1", `{"properties": {"desired": {"other": true}}}`, 200, "If-Match",
			`"`+fmt.Sprint(updated.at("etag"))+`"`)
		az.has(replaced, "properties.desired.other", true, "properties.desired.interval", nil, "tags.site", nil)
		refused := az.send("GET", "/twins/nobody", "", 404)
		if !strings.HasPrefix(fmt.Sprint(refused.at("Message")), "ErrorCode:DeviceNotFound;") {
			az.Errorf("the refusal is %s", refused.text)
		}
	})
	az.command("device-identity delete", func(az azureCLI) {
		az.send("DELETE", "/devices/d1", "", 412, "If-Match", `"AAAA"`)
		az.send("DELETE", "/devices/d1", "", 204, "If-Match", `"*"`)
		az.send("DELETE", "/devices/d1", "", 404, "If-Match", `"*"`)
	})
}
