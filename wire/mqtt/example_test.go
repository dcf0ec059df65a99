package mqtt_test

import (
	"context"
	"fmt"
	"log"
	"net"

	"github.com/berth-iot/berth/wire/mqtt"
)

// echo is a backend: it lets in who has a user name, and sends back what it is sent.
type echo struct{}

func (echo) Open(_ context.Context, conn *mqtt.Conn, connect *mqtt.Connect) (mqtt.Session, bool, mqtt.ConnectCode) {
	if connect.Username == "" {
		return nil, false, mqtt.NotAuthorized
	}
	return session{conn}, false, mqtt.Accepted
}

// session is one client of it.
type session struct{ conn *mqtt.Conn }

func (s session) Publish(message *mqtt.Publish) error {
	if err := s.conn.Respond("echo/"+string(message.Topic), message.Payload, 0); err != nil {
		return err
	}
	if message.QoS == 1 {
		s.conn.Acknowledge(message.PacketID)
	}
	return nil
}

func (s session) Subscribe(subscriptions []mqtt.Subscription) ([]byte, error) {
	granted := make([]byte, len(subscriptions))
	for i, subscription := range subscriptions {
		granted[i] = min(subscription.QoS, 1)
	}
	return granted, nil
}

func (s session) Unsubscribe([]string) error { return nil }

func (s session) Close(error) {}

// A server with a backend, and a client of it.
func Example() {
	ctx := context.Background()
	server := &mqtt.Server{Backend: echo{}}
	listener, err := net.Listen("tcp", "127.0.0.1:0") // of crypto/tls, for others than this machine
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	messages := make(chan string, 1)
	connect := &mqtt.Connect{ClientID: "thermostat-1", Username: "anna", CleanSession: true, KeepAlive: 60}
	client, _, err := mqtt.NewClient(ctx, conn, connect, func(topic string, payload []byte) {
		messages <- topic + ": " + string(payload)
	})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := client.Subscribe(ctx, mqtt.Subscription{Filter: "echo/#"}); err != nil {
		log.Fatal(err)
	}
	acknowledged := make(chan error, 1)
	if err := client.Publish("temperature", []byte("21.5"), 1, func(err error) { acknowledged <- err }); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-messages)
	if err := <-acknowledged; err != nil {
		log.Fatal(err)
	}
	if err := client.Disconnect(); err != nil {
		log.Fatal(err)
	}

	if err := server.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	if err := <-served; err != nil {
		log.Fatal(err)
	}

	// Output: echo/temperature: 21.5
}
