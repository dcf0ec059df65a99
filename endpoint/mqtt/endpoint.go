// Package mqtt is Azure's contract over MQTT: user names, topics, property
// bags and statuses on one side, calls on the provisioning service and the hubs
// on the other. It holds no rule of either.
package mqtt

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/wire/mqtt"
)

// Config names the services that devices reach by MQTT.
type Config struct {
	Provisioning *provisioning.Service
	Hubs         *hub.Directory
	Exact        bool // a certificate request's $rid is one only in the form that Azure documents
	Logger       *slog.Logger

	// QoS0AnswerDelay is how long after a registration or a poll of QoS 0 its answer goes
	// out at the earliest. Answers to requests of QoS 1 never wait.
	QoS0AnswerDelay time.Duration

	// ConnectFailed is told of each client that did not get as far as a CONNECT that can
	// be answered, and why; see mqtt.FailureObserver. nil tells nobody.
	ConnectFailed func(device provisioning.Unconnected, err error)
}

// New returns the backend that serves devices of all services on one listener.
// The user name tells which service a client wants.
func New(config Config) mqtt.Backend { return &backend{config} }

type backend struct{ Config }

// Open implements mqtt.Backend.
func (b *backend) Open(ctx context.Context, conn *mqtt.Conn,
	connect *mqtt.Connect) (mqtt.Session, bool, mqtt.ConnectCode) {
	evidence := evidenceOf(conn, connect)
	if name, ok := contract.ParseProvisioningName(connect.Username); ok && b.hub(name.IDScope) == nil {
		return b.openProvisioning(conn, connect, name, evidence)
	}
	name, err := contract.ParseHubName(connect.Username)
	if err != nil {
		return b.refuse(connect, evidence, fault.New(fault.Unauthorized, "%v", err))
	}
	return b.openHub(ctx, conn, connect, name, evidence)
}

// refuse logs why a client is not let in and says it as well as CONNACK can.
func (b *backend) refuse(connect *mqtt.Connect, evidence credential.Evidence,
	err error) (mqtt.Session, bool, mqtt.ConnectCode) {
	problem := fault.From(err)
	b.Logger.Warn("connection refused", "client", connect.ClientID, "user", connect.Username,
		"protocol", evidence.Protocol, "remote", evidence.RemoteAddr, "trackingId", problem.TrackingID,
		"error", problem)
	return nil, false, ConnectCode(problem)
}

func evidenceOf(conn *mqtt.Conn, connect *mqtt.Connect) credential.Evidence {
	evidence := peerEvidence(conn.Peer())
	evidence.Token = string(connect.Password)
	return evidence
}

func peerEvidence(peer mqtt.Peer) credential.Evidence {
	evidence := credential.Evidence{Protocol: "mqtt", RemoteAddr: peer.RemoteAddr.String()}
	if peer.WebSocket {
		evidence.Protocol = "mqttws"
	}
	if peer.TLS != nil {
		evidence.Certificates = peer.TLS.PeerCertificates
	}
	return evidence
}

// errTopic ends a connection that publishes where nothing listens; Azure closes
// it too.
var errTopic = errors.New("published to a topic that this service does not have")
