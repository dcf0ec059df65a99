package main

import (
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/berth-iot/berth/cmd/berth/cli"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/provisioning/linkedhub"
)

// embedded is a device with Azure's SDK for Embedded C, packet by packet: the SDK makes
// names and topics, and reads those that come; the packets are its samples'.
type embedded struct {
	t *testing.T
	net.Conn
}

func (p *process) embedded(t *testing.T, clientID, username, password string) embedded {
	t.Helper()
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", cli.Loopback(p.info.Ports.MQTT),
		&tls.Config{ServerName: "localhost", RootCAs: p.roots})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	d := embedded{t, conn}
	// Without a clean session, with user name and password, and a keep-alive of 240 s.
	body := append(mqttText("MQTT"), 4, 0xc0, 0, 240)
	body = append(append(append(body, mqttText(clientID)...), mqttText(username)...), mqttText(password)...)
	d.send(0x10, body)
	if _, body := d.receive(0x20); body[1] != 0 {
		t.Fatalf("CONNECT as %s is answered %d", username, body[1])
	}
	return d
}

func mqttText(text string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(text))), text...)
}

func (d embedded) send(first byte, body []byte) {
	d.t.Helper()
	if _, err := d.Write(append(binary.AppendUvarint([]byte{first}, uint64(len(body))), body...)); err != nil {
		d.t.Fatal(err)
	}
}

// receive reads a packet, which must be of this type.
func (d embedded) receive(want byte) (first byte, body []byte) {
	d.t.Helper()
	var header [1]byte
	read := func(b []byte) byte {
		if _, err := io.ReadFull(d, b); err != nil {
			d.t.Fatalf("waiting for a packet of the type %#x: %v", want, err)
		}
		return b[0]
	}
	first = read(header[:])
	length, shift := 0, 0
	for more := true; more; shift += 7 {
		read(header[:])
		length |= int(header[0]&0x7f) << shift
		more = header[0] >= 0x80
	}
	if body = make([]byte, length); length > 0 {
		read(body)
	}
	if first&0xf0 != want {
		d.t.Fatalf("a packet of the type %#x came (%q), want %#x", first, body, want)
	}
	return first, body
}

// subscribe subscribes with one packet for each filter, as the SDK's samples do; they
// stop at one that is refused.
func (d embedded) subscribe(filters ...string) {
	d.t.Helper()
	for i, filter := range filters {
		d.send(0x82, append(append([]byte{0, byte(i + 1)}, mqttText(filter)...), 1))
		if _, body := d.receive(0x90); body[2] != 1 {
			d.t.Fatalf("SUBSCRIBE to %s is answered %#x", filter, body[2])
		}
	}
}

func (d embedded) publish(topic, payload string) {
	d.t.Helper()
	d.send(0x30, append(mqttText(topic), payload...))
}

// next waits for a message, and acknowledges it.
func (d embedded) next() (topic, payload string) {
	d.t.Helper()
	first, body := d.receive(0x30)
	size := binary.BigEndian.Uint16(body)
	topic, body = string(body[2:2+size]), body[2+size:]
	if first&0x06 != 0 {
		d.send(0x40, body[:2])
		body = body[2:]
	}
	return topic, string(body)
}

// answered is how the SDK reads the topic of an answer: the status up to the next slash,
// and behind it the properties, of which it searches $rid.
var answered = regexp.MustCompile(`^\$(dps/registrations|iothub/twin)/res/([0-9]+)/\?(?:.*&)?\$rid=([^&]*)`)

func (d embedded) answer(requestID string) (status, topic, payload string) {
	d.t.Helper()
	topic, payload = d.next()
	match := answered.FindStringSubmatch(topic)
	if match == nil || match[3] != requestID {
		d.t.Fatalf("the answer came on %s, want $rid=%s", topic, requestID)
	}
	return match[2], topic, payload
}

// TestEmbeddedC: a device with Azure's SDK for Embedded C registers, reads its twin,
// reports, is told of a change, and sends telemetry.
func TestEmbeddedC(t *testing.T) {
	t.Parallel()
	server := startProcess(t, buildBinary(t), t.TempDir(), "--registration", "paced")
	const id = "esp32-1"
	key := credential.NewKey(32)
	initial := linkedhub.InitialTwinProperties{Desired: json.RawMessage(`{"device_count":5}`)}
	_, err := server.provisioning.PutEnrollment(within(t, time.Minute), enroll.Enrollment{RegistrationID: id,
		Settings: enroll.Settings{InitialTwin: &linkedhub.InitialTwin{Properties: initial},
			Attestation: enroll.AttestationMechanism{Type: "symmetricKey",
				SymmetricKey: &enroll.SymmetricKeyAttestation{PrimaryKey: key, SecondaryKey: credential.NewKey(32)}}}},
		"")
	if err != nil {
		t.Fatal(err)
	}
	token := func(resource, keyName string) string {
		t.Helper()
		token, err := credential.NewToken(resource, keyName, key, time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		return token
	}

	d := server.embedded(t, id,
		server.info.IDScope+"/registrations/"+id+"/api-version=2019-03-31&ClientVersion=azsdk-c%2F1.6.0",
		token(server.info.IDScope+"/registrations/"+id, "registration"))
	d.subscribe("$dps/registrations/res/#")
	began := time.Now()
	// The samples publish the whole of the buffer that the body was written into.
	d.publish("$dps/registrations/PUT/iotdps-register/?$rid=1",
		`{"registrationId":"`+id+`","payload":{"modelId":"dtmi:com:example:Thermostat;1"}}`+strings.Repeat("\x00", 40))
	status, topic, payload := d.answer("1")
	if took := time.Since(began); took < 100*time.Millisecond {
		t.Errorf("a request of QoS 0 is answered after %v", took)
	}
	var operation struct {
		OperationID, Status string
		RegistrationState   struct{ AssignedHub, DeviceID string }
	}
	for deadline := time.Now().Add(20 * time.Second); status == "202"; status, topic, payload = d.answer("1") {
		json.Unmarshal([]byte(payload), &operation)
		if operation.OperationID == "" || !strings.Contains(topic, "retry-after=") || time.Now().After(deadline) {
			t.Fatalf("answered %s %s", topic, payload)
		}
		// The SDK has one request id for all of them, and sends the operation id as it came.
		d.publish("$dps/registrations/GET/iotdps-get-operationstatus/?$rid=1&operationId="+operation.OperationID, "")
	}
	if json.Unmarshal([]byte(payload), &operation); status != "200" || operation.RegistrationState.DeviceID != id {
		t.Fatalf("answered %s %s", topic, payload)
	}
	d.send(0xe0, nil)

	hub, version := operation.RegistrationState.AssignedHub, 1
	for _, agent := range []string{
		"DeviceClientType=azsdk-c%2F1.6.0", "c/1.6.0(ard;esp32)", "DeviceClientType=c/1.6.0(ard;esp32)",
	} {
		t.Run(agent, func(t *testing.T) {
			for model, padding := range map[string]string{"": "",
				"&model-id=dtmi%3Acom%3Aexample%3AThermostat%3B1": "\x00\x00\x00"} {
				username := hub + "/" + id + "/?api-version=2020-09-30&" + agent + model
				d := server.embedded(t, id, username, token(hub+"/devices/"+id, ""))
				d.subscribe("$iothub/methods/POST/#", "devices/+/messages/devicebound/#", "$iothub/twin/res/#",
					"$iothub/twin/PATCH/properties/desired/#")
				d.publish("$iothub/twin/GET/?$rid=get_twin", "")
				// The sample's reader of twins takes the first member for the property.
				if status, topic, payload := d.answer("get_twin"); status != "200" ||
					!strings.HasPrefix(payload, `{"desired":{"device_count":5,`) {
					t.Errorf("the twin is answered %s %s", topic, payload)
				}
				d.publish("$iothub/twin/PATCH/properties/reported/?$rid=reported_prop", `{"device_count":5}`+padding)
				if status, topic, _ := d.answer("reported_prop"); status != "204" ||
					!strings.Contains(topic, "&$version=") {
					t.Errorf("reporting is answered %s", topic)
				}
				change := json.RawMessage(`{"properties":{"desired":{"device_count":5}}}`)
				if _, err := server.hub.PatchTwin(within(t, time.Minute), id, change, ""); err != nil {
					t.Fatal(err)
				}
				version++
				want := fmt.Sprintf("$iothub/twin/PATCH/properties/desired/?$version=%d", version)
				if topic, payload := d.next(); topic != want ||
					!strings.HasPrefix(payload, `{"device_count":5,"$version":`) {
					t.Errorf("told on %s of %s, want %s", topic, payload, want)
				}
				// The samples send with QoS 0 or 1, bare or with properties and a component.
				d.publish("devices/"+id+"/messages/events/", `{"temperature":21.5}`)
				d.publish("devices/"+id+"/messages/events/%24.ct=application%2Fjson&%24.sub=thermostat1",
					`{"temperature":21.5}`)
				d.send(0x32,
					append(append(mqttText("devices/"+id+"/messages/events/"), 0, 7), `{"temperature":21.5}`...))
				if _, body := d.receive(0x40); body[1] != 7 {
					t.Errorf("PUBLISH 7 is acknowledged as %d", body[1])
				}
				d.send(0xe0, nil)
			}
		})
	}
}
