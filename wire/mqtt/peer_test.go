package mqtt

import (
	"fmt"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// A client that others wrote: it connects, subscribes, publishes with every QoS
// that is served, and gets its messages back.
func TestPaho(t *testing.T) {
	address := start(t, &Server{Backend: &echo{}})
	client := paho.NewClient(paho.NewClientOptions().AddBroker("tcp://" + address).SetClientID("paho").
		SetProtocolVersion(4).SetAutoReconnect(false).SetKeepAlive(time.Minute))
	wait := func(what string, token paho.Token) {
		t.Helper()
		if !token.WaitTimeout(20 * time.Second) {
			t.Fatalf("%s: no answer", what)
		}
		if err := token.Error(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	wait("connect", client.Connect())
	defer client.Disconnect(250)
	echoes := make(chan string, 100)
	wait("subscribe", client.Subscribe("echo/+", 1, func(_ paho.Client, m paho.Message) {
		echoes <- m.Topic() + " " + string(m.Payload())
	}))
	for i := range 20 {
		wait("publish", client.Publish(fmt.Sprintf("t%d", i), byte(i%2), false, fmt.Sprint(i)))
	}
	for i := range 20 {
		select {
		case got := <-echoes:
			if want := fmt.Sprintf("echo/t%d %d", i, i); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("an echo is missing")
		}
	}
	wait("unsubscribe", client.Unsubscribe("echo/+"))
}
