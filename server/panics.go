package server

import (
	"net/http"

	"github.com/berth-iot/berth/panics"
	"github.com/berth-iot/berth/wire/mqtt"
)

// containPanics is a handler whose panics end the request's connection, as those of
// package http do, and are recorded as those of every door are.
func (s *Server) containPanics(door panics.Door, handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			value := recover()
			switch value {
			case nil:
				return
			case http.ErrAbortHandler: // the handler's way to end the connection
			default:
				s.panics.Record(door, value, "method", r.Method, "path", r.URL.Path, "remote", r.RemoteAddr)
			}
			panic(http.ErrAbortHandler)
		}()
		handler.ServeHTTP(w, r)
	})
}

// panicked records a panic in the handling of an MQTT connection.
func (s *Server) panicked(peer mqtt.Peer, value any) {
	door := panics.MQTT
	if peer.WebSocket {
		door = panics.WebSocket
	}
	s.panics.Record(door, value, "remote", peer.RemoteAddr)
}
