package mqtt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/connection"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/hub/inject"
	"github.com/berth-iot/berth/hub/message"
	"github.com/berth-iot/berth/store"
	"github.com/berth-iot/berth/wire/mqtt"
)

// hubForms are the topics on which every device may be sent something, by their forms;
// see canMatch.
var hubForms = []string{
	answerForm(contract.TwinAnswers),
	contract.DesiredTopic + "$version={number}",
	methodForm,
	answerForm(contract.CertificateAnswers),
}

var errWillTopic = errors.New("a will may only go to devices/{device id}/messages/events/")

// hubSession is a device of a hub on its connection, or a module of one. Publish and Subscribe come
// from the connection's goroutine; Desired and Committed from others.
type hubSession struct {
	backend  *backend
	conn     *mqtt.Conn
	session  *connection.Session
	will     *mqtt.Will
	deviceID string          // or a module's id, as identity.ModuleKey has it
	ctx      context.Context // ends with the connection
	cancel   context.CancelFunc

	events  []byte // the telemetry topic, up to its property bag, as the device has last spelled it
	bag     bag
	message message.Message

	subscriptions atomic.Pointer[subscriptions] // what it points to is never changed
	messages      *messagePump
}

func (b *backend) openHub(ctx context.Context, conn *mqtt.Conn, connect *mqtt.Connect, name contract.HubName,
	evidence credential.Evidence) (mqtt.Session, bool, mqtt.ConnectCode) {
	target := b.hub(name.Host)
	name, ok := name.As(connect.ClientID)
	switch {
	case target == nil:
		return b.refuse(connect, evidence, fault.New(fault.HubNotFound, "there is no hub %.253q here", name.Host))
	case !ok:
		return b.refuse(connect, evidence, fault.New(fault.Unauthorized,
			"the client id %.128q is not %.260q as in the user name", connect.ClientID, name.ClientID()))
	}
	id := name.ClientID()
	s := &hubSession{backend: b, conn: conn, deviceID: id, will: connect.Will}
	s.messages = &messagePump{of: s}
	s.setSubscriptions(nil)
	s.events = []byte(contract.EventsTopic(id))
	if connect.Will != nil {
		encoded, ok := s.telemetryBag([]byte(connect.Will.Topic))
		if !ok {
			return b.refuse(connect, evidence, fault.New(fault.ArgumentInvalid, "%v", errWillTopic))
		}
		if err := s.bag.parse(encoded); err != nil {
			return b.refuse(connect, evidence, fault.New(fault.ArgumentInvalid, "the will can't be sent: %v", err))
		}
	}
	evidence.ModelID = contract.ModelID(connect.Username)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	keep := !connect.CleanSession
	session, err := target.Connections().OpenSession(ctx, id, evidence, keep, downlink{s})
	if err != nil {
		s.cancel()
		return b.refuse(connect, evidence, err)
	}
	conn.Proven()
	s.session = session
	conn.Hold(session.HeldPacketIDs()...)
	s.messages.open(session)
	kept := session.Subscriptions()
	s.setSubscriptions(namedSubscriptions(kept))
	s.announceCalls(*s.subscriptions.Load())
	owed := session.Owed()
	for _, answer := range owed {
		if err := s.deliver(answer, true); err != nil {
			b.Logger.Warn("an answer is not sent again", "device", s.deviceID, "error", err)
		}
	}
	return s, keep && len(kept)+len(owed) > 0, mqtt.Accepted
}

// hub returns the hub with this host name, which may carry a port.
func (b *backend) hub(host string) *hub.Hub {
	host, _, _ = strings.Cut(host, ":")
	return b.Hubs.ByHost(host)
}

// topicForms are those of the topics on which the device may be sent something. Nothing is
// sent to inputs of a module but by an IoT Edge hub: modules subscribe to theirs wherever
// they connect.
func (s *hubSession) topicForms() []string {
	id := "=" + strings.Replace(s.deviceID, "/", "/=", 1)
	forms := append(hubForms[:len(hubForms):len(hubForms)], contract.DeviceboundTopic(id)+"/{bag}")
	if _, moduleID := identity.SplitKey(s.deviceID); moduleID != "" {
		forms = append(forms, contract.InputsTopic(id)+"/{input}/{bag}")
	}
	return forms
}

// Subscribe implements mqtt.Session: a filter is granted when it matches anything that
// the device may be sent. What it matches besides, others' topics say, never comes.
func (s *hubSession) Subscribe(asked []mqtt.Subscription) ([]byte, error) {
	all := slices.Clone(*s.subscriptions.Load())
	codes, refused := all.grant(asked, s.topicForms())
	if refused != "" {
		s.backend.Logger.Warn("subscription refused", "device", s.deviceID, "filter", refused)
	}
	if err := s.subscribe(all); err != nil {
		return nil, err
	}
	s.announceCalls(asked)
	return codes, nil
}

// Unsubscribe implements mqtt.Session.
func (s *hubSession) Unsubscribe(filters []string) error {
	all := slices.Clone(*s.subscriptions.Load())
	for _, filter := range filters {
		all.remove(filter)
	}
	return s.subscribe(all)
}

// subscribe has the hub keep the subscriptions, and uses them from now on.
func (s *hubSession) subscribe(all subscriptions) error {
	if err := s.session.SetSubscriptions(s.ctx, all.names()); err != nil {
		return err
	}
	s.setSubscriptions(all)
	return nil
}

func (s *hubSession) setSubscriptions(all subscriptions) {
	s.subscriptions.Store(&all)
	s.messages.wake()
}

func (s *hubSession) Publish(message *mqtt.Publish) error {
	if encoded, ok := s.telemetryBag(message.Topic); ok {
		return s.telemetry(message, encoded)
	}
	if parameters, ok := bytes.CutPrefix(message.Topic, []byte(contract.TwinTopic)); ok {
		return s.twinGet(message, parameters)
	}
	if parameters, ok := bytes.CutPrefix(message.Topic, []byte(contract.ReportedTopic)); ok {
		return s.twinReport(message, parameters)
	}
	if parameters, ok := bytes.CutPrefix(message.Topic, []byte(contract.IssueCertificateTopic)); ok {
		return s.issueCertificate(message, parameters)
	}
	if bytes.HasPrefix(message.Topic, []byte(contract.MethodAnswers)) {
		return s.methodAnswer(message)
	}
	return errTopic
}

// telemetryBag returns the property bag of a telemetry topic, in which the ids may be
// percent-encoded.
func (s *hubSession) telemetryBag(topic []byte) (encoded []byte, ok bool) {
	if encoded, ok = cutEvents(topic, s.events); ok {
		return encoded, true
	}
	id := idOf(string(topic))
	if id != s.deviceID && contract.Unescape(id) != s.deviceID {
		return nil, false
	}
	events := []byte(contract.EventsTopic(id))
	if encoded, ok = cutEvents(topic, events); ok {
		s.events = events // the device keeps to it
	}
	return encoded, ok
}

func cutEvents(topic, events []byte) (encoded []byte, ok bool) {
	rest, ok := bytes.CutPrefix(topic, events)
	if !ok || len(rest) > 0 && rest[0] != '/' {
		return nil, false
	}
	return bytes.TrimPrefix(rest, []byte("/")), true
}

var (
	retainName, willName   = []byte("mqtt-retain"), []byte("iothub-MessageType")
	retainValue, willValue = []byte("true"), []byte("Will")
)

// telemetry hands the message to the hub. It is acknowledged by Committed.
func (s *hubSession) telemetry(published *mqtt.Publish, encoded []byte) error {
	if err := s.bag.parse(encoded); err != nil {
		return err
	}
	if published.Retain {
		s.bag.properties = append(s.bag.properties, message.Property{Name: retainName, Value: retainValue})
	}
	s.message.System, s.message.Properties, s.message.Payload = s.bag.system, s.bag.properties, published.Payload
	return s.session.Send(&s.message, s, uint64(published.PacketID))
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
	requestID, err := s.takeRequest(message, parameters)
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
	requestID, err := s.takeRequest(message, parameters)
	if err != nil {
		return err
	}
	patch := document.TrimPadding(message.Payload)
	wanted, conditional, err := versionOf(parameters)
	var version int64
	switch {
	case err != nil:
	case conditional:
		version, err = s.session.ReportIfVersion(s.ctx, patch, wanted)
	default:
		version, err = s.session.Report(s.ctx, patch)
	}
	if err != nil {
		return s.refuse(requestID, err)
	}
	return s.respond(204, requestID, fmt.Sprintf("&$version=%d", version), nil)
}

// versionOf is the version that reported properties must have for a patch to be taken,
// if its topic names one: $version.
func versionOf(parameters []byte) (version int64, conditional bool, _ error) {
	text, conditional := query(parameters, "$version")
	if !conditional {
		return 0, false, nil
	}
	version, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return 0, false, fault.New(fault.ArgumentInvalid,
			"$version in the topic must be the version of the reported properties, a whole number, not %.32q", text)
	}
	return version, true, nil
}

// takeRequest acknowledges a request and returns its id. PUBACK says that the request
// has arrived; what became of it is the answer's to say.
func (s *hubSession) takeRequest(message *mqtt.Publish, parameters []byte) (string, error) {
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
	if errors.Is(err, inject.ErrDropped) {
		return err // which ends the connection
	}
	problem := fault.From(err)
	s.backend.Logger.Warn("twin request refused", "device", s.deviceID, "trackingId", problem.TrackingID,
		"error", problem)
	return s.respond(problem.Code.Status(), requestID, "", ErrorBody(problem, time.Now()))
}

func (s *hubSession) respond(status int, requestID, parameters string, body []byte) error {
	return s.answer(contract.TwinAnswers.Topic(status, requestID)+parameters, body)
}

// answer sends the answer to a request, if the device has subscribed to it.
func (s *hubSession) answer(topic string, body []byte) error {
	if qos := s.subscriptions.Load().qos(topic); qos != mqtt.Refused {
		return s.conn.Respond(topic, body, qos)
	}
	return nil // nobody listens
}

// Close implements mqtt.Session. A connection that ended otherwise than by
// DISCONNECT leaves its will as a message.
func (s *hubSession) Close(reason error) {
	defer s.messages.end()
	defer s.cancel()
	defer s.session.Close(reason)
	if reason != nil && s.will != nil {
		if err := s.sendWill(); err != nil {
			s.backend.Logger.Warn("will refused", "device", s.deviceID, "error", err)
		}
	}
	if reason != nil {
		s.backend.Logger.Info("connection ended", "device", s.deviceID, "reason", reason)
	}
}

func (s *hubSession) sendWill() error {
	encoded, _ := s.telemetryBag([]byte(s.will.Topic))
	if err := s.bag.parse(encoded); err != nil {
		return err
	}
	s.bag.properties = append(s.bag.properties, message.Property{Name: willName, Value: willValue})
	if s.will.Retain {
		s.bag.properties = append(s.bag.properties, message.Property{Name: retainName, Value: retainValue})
	}
	s.message.System, s.message.Properties, s.message.Payload = s.bag.system, s.bag.properties, s.will.Payload
	return s.session.SendWill(&s.message, s, 0)
}

// downlink is how the hub reaches the device on this connection.
type downlink struct{ *hubSession }

// Desired implements connection.Downlink. A device that is not subscribed is not told;
// it reads its twin when it wants to know.
func (d downlink) Desired(version int64, patch json.RawMessage) {
	topic := contract.DesiredTopic + "$version=" + strconv.FormatInt(version, 10)
	if qos := d.subscriptions.Load().qos(topic); qos != mqtt.Refused {
		if err := d.conn.Publish(topic, patch, qos, false, nil); err != nil {
			d.conn.Close(err)
		}
	}
}

// Messages implements connection.Downlink.
func (d downlink) Messages() { d.messages.wake() }

// Close implements connection.Downlink.
func (d downlink) Close(reason error) {
	if errors.Is(reason, connection.ErrReset) {
		d.conn.Reset(reason)
		return
	}
	d.conn.Close(reason)
}
