package mqtt_test

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/berth-iot/berth/wire/mqtt"
)

// A server that says no has a reason, which is in the chain of the error. Any net.Conn
// will do on both sides.
func ExampleNewClient() {
	server := &mqtt.Server{Backend: echo{}} // of the example of the package
	here, there := net.Pipe()
	go server.ServeConn(there, mqtt.Peer{RemoteAddr: there.RemoteAddr()})

	connect := &mqtt.Connect{ClientID: "nameless", CleanSession: true}
	_, _, err := mqtt.NewClient(context.Background(), here, connect, func(string, []byte) {})
	var refused *mqtt.RefusedError
	fmt.Println(errors.As(err, &refused) && refused.Code == mqtt.NotAuthorized)
	fmt.Println(err)
	server.Shutdown(context.Background())

	// Output:
	// true
	// connection refused: not authorized (5)
}
