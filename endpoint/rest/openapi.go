package rest

import (
	_ "embed"
	"encoding/json"

	"github.com/berth-iot/berth/contract"
)

// openAPI describes every operation that is served here, in OpenAPI 3.0. The tests
// write it from the routes and the Go types, and hold it against the server:
//
//	go test ./endpoint/rest -run OpenAPI -update
//
//go:embed openapi.json
var openAPI []byte

// description is where people and generators of clients find openAPI.
func (h *handler) description() []route {
	return []route{{"GET", contract.OpenAPIPath, provisioningAPI, "", 0, describeAPI}}
}

func describeAPI(*call) (any, error) { return json.RawMessage(openAPI), nil }
