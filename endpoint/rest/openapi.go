package rest

import (
	_ "embed"
	"encoding/json"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/endpoint/https"
)

// openAPI describes Azure's operations, and Berth's own in endpoint/own, in OpenAPI 3.0.
// The tests write it from the operations and the Go types, and hold it against the server:
//
//	go test ./endpoint/rest -run OpenAPI -update
//
//go:embed openapi.json
var openAPI []byte

// description is where people and generators of clients find openAPI.
func description() []https.Operation {
	return []https.Operation{dps("GET", contract.OpenAPIPath, "", 0, describeAPI)}
}

func describeAPI(*https.Call) (any, error) { return json.RawMessage(openAPI), nil }
