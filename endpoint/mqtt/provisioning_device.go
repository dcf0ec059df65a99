package mqtt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/document"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/inject"
	"github.com/berth-iot/berth/wire/mqtt"
)

// provisioningForms are the topics on which a device is answered, by their form; see
// canMatch.
var provisioningForms = []string{answerForm(contract.RegistrationAnswers)}

// provisioningTime is how long a device that has proved who it is may stay connected
// to register; the listener sends others away much earlier. Assignments that take
// longer are polled for on a new connection.
const provisioningTime = 10 * time.Minute

var errProvisioningOver = errors.New("the time for registering on one connection is over")

// maxRequestID bounds $rid: clients send a GUID or a number.
const maxRequestID = 128

type provisioningSession struct {
	backend        *backend
	conn           *mqtt.Conn
	session        *provisioning.Session
	registrationID string
	ctx            context.Context // ends with the connection
	cancel         context.CancelFunc
	over           *time.Timer
	subscriptions  subscriptions
}

func (b *backend) openProvisioning(conn *mqtt.Conn, connect *mqtt.Connect, name contract.ProvisioningName,
	evidence credential.Evidence) (mqtt.Session, bool, mqtt.ConnectCode) {
	if !name.Matches(connect.ClientID) {
		return b.refuse(connect, evidence, fault.New(fault.Unauthorized,
			"the client id %.128q is not the registration id %.128q of the user name",
			connect.ClientID, name.RegistrationID))
	}
	evidence.APIVersion = name.APIVersion
	s := &provisioningSession{backend: b, conn: conn, registrationID: name.RegistrationID,
		session: b.Provisioning.OpenSession(name.IDScope, name.RegistrationID, evidence)}
	s.session.Proven = conn.Proven
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.over = time.AfterFunc(provisioningTime, func() { conn.Close(errProvisioningOver) })
	// Sessions are never kept, whatever CleanSession says.
	return s, false, mqtt.Accepted
}

// Subscribe implements mqtt.Session.
func (s *provisioningSession) Subscribe(asked []mqtt.Subscription) ([]byte, error) {
	codes, refused := s.subscriptions.grant(asked, provisioningForms)
	if refused != "" {
		s.backend.Logger.Warn("subscription refused", "registrationId", s.registrationID, "filter", refused)
	}
	return codes, nil
}

// Unsubscribe implements mqtt.Session.
func (s *provisioningSession) Unsubscribe(filters []string) error {
	for _, filter := range filters {
		s.subscriptions.remove(filter)
	}
	return nil
}

// Publish implements mqtt.Session.
func (s *provisioningSession) Publish(message *mqtt.Publish) error {
	// A client that sends with QoS 0 has nothing that orders the answer behind its
	// request: some lose one that comes while they are still busy with sending.
	var notBefore time.Time
	if message.QoS == 0 {
		notBefore = time.Now().Add(s.backend.QoS0AnswerDelay)
	}
	var parameters []byte
	var call func(parameters []byte) (provisioning.Operation, error)
	register, isRegister := bytes.CutPrefix(message.Topic, []byte(contract.RegisterTopic))
	poll, isPoll := bytes.CutPrefix(message.Topic, []byte(contract.RegistrationStatusTopic))
	switch {
	case isRegister:
		parameters, call = register, func([]byte) (provisioning.Operation, error) {
			return s.session.Register(s.ctx, document.TrimPadding(message.Payload))
		}
	case isPoll:
		parameters, call = poll, s.status
	default:
		return errTopic
	}
	requestID, ok := query(parameters, "$rid")
	if !ok || len(requestID) > maxRequestID {
		return fmt.Errorf("%w: $rid is missing or too long", errTopic)
	}
	// Before the answer: the C# client expects PUBACK, then PUBLISH.
	if message.QoS > 0 {
		s.conn.Acknowledge(message.PacketID)
	}
	operation, err := call(parameters)
	if errors.Is(err, inject.ErrDropped) {
		return err
	}
	return s.respond(notBefore, string(requestID), operation, err)
}

func (s *provisioningSession) status(parameters []byte) (provisioning.Operation, error) {
	encoded, _ := query(parameters, "operationId")
	operationID, err := url.QueryUnescape(string(encoded))
	if err != nil || operationID == "" {
		return provisioning.Operation{},
			fault.New(fault.ArgumentInvalid, "The topic has no operationId. It is the one that registering answered")
	}
	return s.session.Operation(s.ctx, operationID)
}

// respond answers a request, not before a time.
func (s *provisioningSession) respond(notBefore time.Time, requestID string, operation provisioning.Operation,
	err error) error {
	status, retry := 200, operation.RetryAfter
	var body []byte
	if err == nil {
		body, err = asciiJSON(operation)
	}
	if err != nil {
		problem := fault.From(err)
		status, retry = problem.Code.Status(), problem.RetryAfter
		body = ErrorBody(problem, time.Now())
	} else if retry > 0 {
		status = 202
	}
	topic := contract.RegistrationAnswers.Topic(status, requestID) + retryAfter(retry)
	qos := s.subscriptions.qos(topic)
	if qos == mqtt.Refused {
		return nil // nobody listens
	}
	return s.conn.RespondNotBefore(notBefore, topic, body, qos)
}

// Close implements mqtt.Session.
func (s *provisioningSession) Close(reason error) {
	defer s.cancel()
	s.over.Stop()
	if errors.Is(reason, errTopic) || errors.Is(reason, mqtt.ErrProtocol) {
		s.session.Broken(s.ctx, reason)
	}
}
