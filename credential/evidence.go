package credential

import "crypto/x509"

// Evidence is what a client showed of who it is, as its protocol carried it.
// Nothing in it has been judged but the possession of the first certificate's
// key, which the TLS handshake proved.
type Evidence struct {
	Certificates []*x509.Certificate // as sent, leaf first; empty without a client certificate
	Token        string              // the SAS token as received, "" without
	Protocol     string              // mqtt, mqttws, https, amqp, amqpws
	RemoteAddr   string              // host:port
	APIVersion   string              // that the client names, such as 2019-03-31; "" when it names none
	ModelID      *string             // that the device announces, such as dtmi:com:example:Thermostat;1; nil for none
}
