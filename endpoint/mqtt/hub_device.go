package mqtt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/wire/mqtt"
)

// The topics of a hub's device (Azure, iot-mqtt-connect-to-iot-hub).
const (
	twinGetTopic       = "$iothub/twin/GET/?"
	twinReportedTopic  = "$iothub/twin/PATCH/properties/reported/?"
	twinResponseTopic  = "$iothub/twin/res/%d/?$rid=%s"
	twinResponseFilter = "$iothub/twin/res/#"
	desiredTopic       = "$iothub/twin/PATCH/properties/desired/?$version=%d"
	desiredFilter      = "$iothub/twin/PATCH/properties/desired/#"
	methodsFilter      = "$iothub/methods/POST/#"
)

var errWillTopic = errors.New("a will may only go to devices/{device id}/messages/events/")

// hubSession is a device of a hub on its connection. Publish and Subscribe come
// from the connection's goroutine; Desired and Committed from others.
type hubSession struct {
	backend  *backend
	conn     *mqtt.Conn
	session  *hub.Session
	will     *mqtt.Will
	deviceID string
	ctx      context.Context // ends with the connection
	cancel   context.CancelFunc

	events          [][]byte // the telemetry topic, up to its property bag, in the spellings that clients use
	deviceboundName string   // the filter for cloud-to-device messages
	bag             bag
	message         hub.Message

	twinQoS        byte // granted for twin responses; mqtt.Refused while not subscribed
	credentialsQoS byte // likewise for certificates
	desiredQoS     atomic.Uint32
}

func (b *backend) openHub(ctx context.Context, conn *mqtt.Conn, connect *mqtt.Connect, name hubName, evidence credential.Evidence) (mqtt.Session, bool, mqtt.ConnectCode) {
	target := b.hub(name.host)
	name, ok := name.as(connect.ClientID)
	switch {
	case target == nil:
		return b.refuse(connect, evidence, fault.New(fault.HubNotFound, "there is no hub %.253q here", name.host))
	case !ok:
		return b.refuse(connect, evidence, fault.New(fault.Unauthorized, "the client id %.128q is not %.260q as in the user name", connect.ClientID, name.clientID()))
	case name.moduleID != "":
		return b.refuse(connect, evidence, fault.New(fault.ModuleNotFound, "modules are not served by this version"))
	}
	s := &hubSession{backend: b, conn: conn, deviceID: name.deviceID, will: connect.Will, twinQoS: mqtt.Refused, credentialsQoS: mqtt.Refused}
	s.desiredQoS.Store(uint32(mqtt.Refused))
	s.deviceboundName = "devices/" + name.deviceID + "/messages/devicebound/#"
	s.events = [][]byte{[]byte("devices/" + name.deviceID + "/messages/events")}
	if escaped := url.PathEscape(name.deviceID); escaped != name.deviceID {
		s.events = append(s.events, []byte("devices/"+escaped+"/messages/events"))
	}
	if connect.Will != nil {
		if _, ok := s.telemetryBag([]byte(connect.Will.Topic)); !ok {
			return b.refuse(connect, evidence, fault.New(fault.ArgumentInvalid, "%v", errWillTopic))
		}
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	keep := !connect.CleanSession
	session, err := target.OpenSession(ctx, name.deviceID, evidence, keep, downlink{s})
	if err != nil {
		s.cancel()
		return b.refuse(connect, evidence, err)
	}
	conn.Proven()
	s.session = session
	kept := session.Subscriptions()
	for _, subscription := range kept {
		var qos byte
		var filter string
		if _, err := fmt.Sscanf(subscription, "%d %s", &qos, &filter); err == nil {
			s.grant(filter, qos)
		}
	}
	return s, keep && len(kept) > 0, mqtt.Accepted
}

// hub returns the hub with this host name, which may carry a port.
func (b *backend) hub(host string) *hub.Hub {
	host, _, _ = strings.Cut(host, ":")
	return b.Hubs.ByHost(host)
}

// grant notes a subscription and returns the QoS given, or Refused for a filter
// that devices do not have.
func (s *hubSession) grant(filter string, qos byte) byte {
	qos = min(qos, 1)
	switch filter {
	case twinResponseFilter:
		s.twinQoS = qos
	case credentialsFilter:
		s.credentialsQoS = qos
	case desiredFilter:
		s.desiredQoS.Store(uint32(qos))
	case methodsFilter, s.deviceboundName:
		// Nothing is sent there while no back end can send it.
	default:
		return mqtt.Refused
	}
	return qos
}

func (s *hubSession) Subscribe(subscriptions []mqtt.Subscription) ([]byte, error) {
	codes := make([]byte, len(subscriptions))
	names := s.session.Subscriptions()
	for i, subscription := range subscriptions {
		codes[i] = s.grant(subscription.Filter, subscription.QoS)
		if codes[i] == mqtt.Refused {
			continue
		}
		name := kept(subscription.Filter, codes[i])
		if former := kept(subscription.Filter, 1-codes[i]); slices.Contains(names, former) {
			names = slices.DeleteFunc(names, func(n string) bool { return n == former })
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return codes, s.session.SetSubscriptions(s.ctx, names)
}

func (s *hubSession) Unsubscribe(filters []string) error {
	names := s.session.Subscriptions()
	for _, filter := range filters {
		switch filter {
		case twinResponseFilter:
			s.twinQoS = mqtt.Refused
		case credentialsFilter:
			s.credentialsQoS = mqtt.Refused
		case desiredFilter:
			s.desiredQoS.Store(uint32(mqtt.Refused))
		}
		names = slices.DeleteFunc(names, func(name string) bool {
			_, former, _ := strings.Cut(name, " ")
			return former == filter
		})
	}
	return s.session.SetSubscriptions(s.ctx, names)
}

// kept is a subscription as the hub keeps it for a client that comes back.
func kept(filter string, qos byte) string { return fmt.Sprintf("%d %s", qos, filter) }

func (s *hubSession) Publish(message *mqtt.Publish) error {
	if encoded, ok := s.telemetryBag(message.Topic); ok {
		return s.telemetry(message, encoded)
	}
	if parameters, ok := bytes.CutPrefix(message.Topic, []byte(twinGetTopic)); ok {
		return s.twinGet(message, parameters)
	}
	if parameters, ok := bytes.CutPrefix(message.Topic, []byte(twinReportedTopic)); ok {
		return s.twinReport(message, parameters)
	}
	if parameters, ok := bytes.CutPrefix(message.Topic, []byte(credentialsTopic)); ok {
		return s.issueCertificate(message, parameters)
	}
	return errTopic
}

// telemetryBag returns the property bag of a telemetry topic.
func (s *hubSession) telemetryBag(topic []byte) (encoded []byte, ok bool) {
	for _, prefix := range s.events {
		if rest, ok := bytes.CutPrefix(topic, prefix); ok && (len(rest) == 0 || rest[0] == '/') {
			return bytes.TrimPrefix(rest, []byte("/")), true
		}
	}
	return nil, false
}

var (
	retainName, willName   = []byte("mqtt-retain"), []byte("iothub-MessageType")
	retainValue, willValue = []byte("true"), []byte("Will")
)

// telemetry hands the message to the hub. It is acknowledged by Committed.
func (s *hubSession) telemetry(message *mqtt.Publish, encoded []byte) error {
	if err := s.bag.parse(encoded); err != nil {
		return err
	}
	if message.Retain {
		s.bag.properties = append(s.bag.properties, hub.Property{Name: retainName, Value: retainValue})
	}
	s.message.System, s.message.Properties, s.message.Payload = s.bag.system, s.bag.properties, message.Payload
	return s.session.Send(&s.message, s, uint64(message.PacketID))
}

// Committed implements store.Committer: a message is acknowledged when it is
// durable. A log that fails takes the connection with it, so that the device
// sends again.
func (s *hubSession) Committed(packetID uint64, _ store.Position, err error) {
	defer s.conn.Recover()
	switch {
	case err != nil:
		s.conn.Close(err)
	case packetID != 0:
		s.conn.Acknowledge(uint16(packetID))
	}
}

func (s *hubSession) twinGet(message *mqtt.Publish, parameters []byte) error {
	requestID, err := s.begin(message, parameters)
	if err != nil {
		return err
	}
	twin, err := s.session.Twin(s.ctx)
	if err != nil {
		return s.refuse(requestID, err)
	}
	return s.respond(200, requestID, "", twin)
}

func (s *hubSession) twinReport(message *mqtt.Publish, parameters []byte) error {
	requestID, err := s.begin(message, parameters)
	if err != nil {
		return err
	}
	version, err := s.session.Report(s.ctx, message.Payload)
	if err != nil {
		return s.refuse(requestID, err)
	}
	return s.respond(204, requestID, fmt.Sprintf("&$version=%d", version), nil)
}

// begin acknowledges a request and returns its id. PUBACK says that the request
// has arrived; what became of it is the answer's to say.
func (s *hubSession) begin(message *mqtt.Publish, parameters []byte) (string, error) {
	requestID, ok := query(parameters, "$rid")
	if !ok || len(requestID) > maxRequestID {
		return "", fmt.Errorf("%w: $rid is missing or too long", errTopic)
	}
	if message.QoS > 0 {
		s.conn.Acknowledge(message.PacketID)
	}
	return string(requestID), nil
}

func (s *hubSession) refuse(requestID string, err error) error {
	problem := fault.From(err)
	s.backend.Logger.Warn("twin request refused", "device", s.deviceID, "trackingId", problem.TrackingID, "error", problem)
	return s.respond(problem.Code.Status(), requestID, "", problemBody(problem, time.Now()))
}

func (s *hubSession) respond(status int, requestID, parameters string, body []byte) error {
	if s.twinQoS == mqtt.Refused {
		return nil // nobody listens
	}
	return s.conn.Respond(fmt.Sprintf(twinResponseTopic, status, requestID)+parameters, body, s.twinQoS)
}

// Close implements mqtt.Session. A connection that ended otherwise than by
// DISCONNECT leaves its will as a message.
func (s *hubSession) Close(reason error) {
	defer s.cancel()
	defer s.session.Close(reason)
	if reason != nil && s.will != nil {
		if err := s.leaveWill(); err != nil {
			s.backend.Logger.Warn("will refused", "device", s.deviceID, "error", err)
		}
	}
	if reason != nil {
		s.backend.Logger.Info("connection ended", "device", s.deviceID, "reason", reason)
	}
}

func (s *hubSession) leaveWill() error {
	encoded, _ := s.telemetryBag([]byte(s.will.Topic))
	if err := s.bag.parse(encoded); err != nil {
		return err
	}
	s.bag.properties = append(s.bag.properties, hub.Property{Name: willName, Value: willValue})
	if s.will.Retain {
		s.bag.properties = append(s.bag.properties, hub.Property{Name: retainName, Value: retainValue})
	}
	s.message.System, s.message.Properties, s.message.Payload = s.bag.system, s.bag.properties, s.will.Payload
	return s.session.SendWill(&s.message, s, 0)
}

// downlink is how the hub reaches the device on this connection.
type downlink struct{ *hubSession }

// Desired implements hub.Downlink. A device that is not subscribed is not told;
// it reads its twin when it wants to know.
func (d downlink) Desired(version int64, patch json.RawMessage) {
	if qos := byte(d.desiredQoS.Load()); qos != mqtt.Refused {
		if err := d.conn.Publish(fmt.Sprintf(desiredTopic, version), patch, qos, false, nil); err != nil {
			d.conn.Close(err)
		}
	}
}

// Close implements hub.Downlink.
func (d downlink) Close(reason error) { d.conn.Close(reason) }
