package server

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/berth-iot/berth/health"
	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/wire/admission"
	"github.com/berth-iot/berth/wire/mqtt"
)

// operations is what is on loopback: the portal, and for those who run the
// server whether it is alive, whether it is ready, and its figures.
func (s *Server) operations() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.Handle("GET /metrics", web.RequireLoopback(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Anew each time, because hubs are added while the server runs.
		promhttp.HandlerFor(s.metrics(), promhttp.HandlerOpts{}).ServeHTTP(w, r)
	})))
	mux.Handle(web.Root, s.portal)
	mux.Handle("GET /{$}", http.RedirectHandler(web.Root, http.StatusSeeOther))
	return s.containPanics(panics.Portal, mux)
}

// readyz says in its first line whether the server does all that it should, and
// then what is wrong, a line each.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if s.ready.Load() && s.health.Ready() {
		fmt.Fprintln(w, "ready")
	} else {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, "not ready")
	}
	for _, condition := range s.health.Conditions() {
		fmt.Fprintf(w, "%s: %s\n", condition.Name, condition.Text())
	}
}

// metrics reads the figures that the parts keep, when somebody asks.
func (s *Server) metrics() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	counter := func(name, help string, labels prometheus.Labels, value func() float64) {
		options := prometheus.CounterOpts{Namespace: "berth", Name: name, Help: help, ConstLabels: labels}
		registry.MustRegister(prometheus.NewCounterFunc(options, value))
	}
	gauge := func(name, help string, labels prometheus.Labels, value func() float64) {
		options := prometheus.GaugeOpts{Namespace: "berth", Name: name, Help: help, ConstLabels: labels}
		registry.MustRegister(prometheus.NewGaugeFunc(options, value))
	}
	ready := func(is bool) func() float64 {
		return func() float64 {
			if is {
				return 1
			}
			return 0
		}
	}
	gauge("ready", "1 when the server does all that it should.", nil, ready(s.ready.Load() && s.health.Ready()))
	wrong := s.health.Conditions()
	for _, name := range s.health.Names() {
		is := slices.ContainsFunc(wrong, func(c health.Condition) bool { return c.Name == name })
		gauge("condition", "1 while the condition holds; see /readyz.", prometheus.Labels{"condition": name}, ready(is))
	}
	if free, err := freeBytes(s.config.DataDir); err == nil {
		gauge("data_free_bytes", "Bytes free on the disk of the data folder.", nil,
			func() float64 { return float64(free) })
	}
	gauge("mqtt_connections", "MQTT connections open now.", nil,
		func() float64 { return float64(s.mqtt.Stats().Connections) })
	counter("mqtt_connections_total", "MQTT connections that came.", nil,
		func() float64 { return float64(s.mqtt.Stats().Accepted) })
	counter("mqtt_handshake_failures_total", "TLS handshakes that failed on the port of MQTT.", nil,
		func() float64 { return float64(s.listeners.mqtt.HandshakeFailures()) })
	counter("https_handshake_failures_total", "TLS handshakes that failed on the port of HTTPS.", nil,
		func() float64 { return float64(s.listeners.https.HandshakeFailures()) })
	gate := s.listeners.gate
	gauge("connections", "Connections open now over MQTT, HTTPS and WebSocket.", nil,
		func() float64 { return float64(gate.Stats().Connections) })
	gauge("connections_limit", "How many may be open at once; 0 means unlimited.", nil,
		func() float64 { return float64(gate.Stats().Limit) })
	gauge("connections_waiting", "Connections that have sent nothing yet or wait for their TLS handshake.", nil,
		func() float64 { return float64(gate.Stats().Waiting) })
	gauge("connections_unproven",
		"Connections in or after their TLS handshake whose client has not proved who it is.", nil,
		func() float64 { return float64(gate.Stats().Unproven) })
	counter("connections_total", "Connections that came over MQTT, HTTPS and WebSocket.", nil,
		func() float64 { return float64(gate.Stats().Accepted) })
	for _, reason := range admission.Reasons() {
		counter("connections_refused_total",
			"Connections that were closed before their client had proved who it is, by reason.",
			prometheus.Labels{"reason": reason.String()},
			func() float64 { return float64(gate.Stats().Refused[reason]) })
	}
	for kind := range clients {
		counter("connections_failed_total",
			"Connections that ended in their TLS handshake or before CONNECT, by the kind of their client.",
			prometheus.Labels{"client": kind.String()},
			func() float64 { return float64(s.failedConnections[kind].Load()) })
	}
	for code := mqtt.UnacceptableProtocolVersion; code <= mqtt.NotAuthorized; code++ {
		counter("mqtt_connections_refused_total",
			"CONNECTs refused, by the return code of CONNACK.",
			prometheus.Labels{"code": fmt.Sprint(code)},
			func() float64 { return float64(s.mqtt.Stats().Refused[code]) })
	}
	counter("mqtt_protocol_errors_total", "MQTT connections that ended with a protocol error of the client.", nil,
		func() float64 { return float64(s.mqtt.Stats().ProtocolErrors) })
	counter("mqtt_timeouts_total", "MQTT connections that ended because the client was silent or slow.", nil,
		func() float64 { return float64(s.mqtt.Stats().TimedOut) })
	counter("mqtt_packets_received_total", "MQTT packets received.", nil,
		func() float64 { return float64(s.mqtt.Stats().PacketsIn) })
	counter("mqtt_received_bytes_total", "Bytes received by MQTT.", nil,
		func() float64 { return float64(s.mqtt.Stats().BytesIn) })
	counter("mqtt_sent_bytes_total", "Bytes sent by MQTT.", nil,
		func() float64 { return float64(s.mqtt.Stats().BytesOut) })
	for _, door := range panics.Doors {
		counter("panics_total",
			"Panics, each of which ended one connection, request or piece of work; the log has their stacks.",
			prometheus.Labels{"door": string(door)}, func() float64 { return float64(s.panics.Count(door)) })
	}
	gauge("unreadable_records", "Records met that can't be read: berth data unreadable lists them.", nil,
		func() float64 { return float64(len(s.documents.Known(""))) })
	for outcome, value := range map[string]func() uint64{
		"assigned": func() uint64 { return s.provisioning.Tally().Assigned },
		"refused":  func() uint64 { return s.provisioning.Tally().Refused },
		"failed":   func() uint64 { return s.provisioning.Tally().Failed },
	} {
		counter("registrations_total", "Registrations by how they ended.", prometheus.Labels{"outcome": outcome},
			func() float64 { return float64(value()) })
	}
	counter("attestation_signatures_total", "Signatures of certificates that were checked to judge devices.", nil,
		func() float64 { return float64(s.provisioning.Work().Signatures) })
	counter("attestation_groups_tried_total", "Enrollment groups whose keys were tried on devices' tokens.", nil,
		func() float64 { return float64(s.provisioning.Work().GroupsTried) })
	s.certificateMetrics(registry)
	for _, h := range s.hubs.All() {
		labels := prometheus.Labels{"hub": h.Name()}
		gauge("hub_connected_devices", "Devices connected now.", labels,
			func() float64 { return float64(h.Stats().Connected) })
		counter("hub_messages_total", "Telemetry messages accepted.", labels,
			func() float64 { return float64(h.Stats().Messages) })
		counter("hub_message_bytes_total", "Bytes of the payloads of telemetry.", labels,
			func() float64 { return float64(h.Stats().Bytes) })
		counter("hub_twin_updates_total", "Changes of desired and reported properties and tags.", labels,
			func() float64 { return float64(h.Stats().TwinUpdates) })
		messages := h.Messages()
		counter("hub_c2d_messages_sent_total", "Messages to devices that were accepted.", labels,
			func() float64 { return float64(messages.Stats().Sent) })
		counter("hub_c2d_messages_abandoned_total", "Messages that devices have given back, to receive them again.",
			labels, func() float64 { return float64(messages.Stats().Abandoned) })
		for outcome := range messages.Stats().Left {
			counter("hub_c2d_messages_left_total",
				"Messages that have left the queues of devices, by what became of them, in the words of feedback.",
				prometheus.Labels{"hub": h.Name(), "outcome": string(outcome)},
				func() float64 { return float64(messages.Stats().Left[outcome]) })
		}
		if waiting, err := messages.Waiting(context.Background()); err == nil {
			gauge("hub_c2d_messages_waiting", "Messages in the queues of devices now, with what is under lock.", labels,
				func() float64 { return float64(waiting.Messages) })
			gauge("hub_c2d_feedback_waiting", "Records of feedback on messages to devices that no back end has read.",
				labels, func() float64 { return float64(waiting.Feedback) })
		} else {
			s.config.Logger.Error("messages to devices can't be counted for the metrics", "hub", h.Name(), "error", err)
		}
		counter("hub_method_calls_total", "Calls of direct methods, whatever came of them.", labels,
			func() float64 { return float64(h.Stats().MethodCalls) })
	}
	return registry
}

// certificateMetrics say how long the certificates that the server made are still
// valid. It renews them by itself, the server's own 30 days before its end.
func (s *Server) certificateMetrics(registry *prometheus.Registry) {
	expiry := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: "berth",
		Name:      "certificate_expiry_seconds",
		Help:      "Seconds until a certificate of the server expires; negative since it has.",
	}, []string{"certificate", "name"})
	failures := prometheus.NewCounterFunc(prometheus.CounterOpts{
		Namespace: "berth",
		Name:      "renewal_failures_total",
		Help:      "Attempts to renew what expires that failed.",
	}, func() float64 { return float64(s.renewalFailures.Load()) })
	registry.MustRegister(expiry, failures)
	found, err := s.expiries(context.Background())
	if err != nil {
		s.config.Logger.Error("the issuing authorities can't be read for the metrics", "error", err)
	}
	for _, e := range found {
		expiry.WithLabelValues(e.certificate, e.name).Set(e.notAfter.Sub(s.config.Now()).Seconds())
	}
}
