package rest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/endpoint/own"
)

// TestOpenAPIDocument writes the document from the routes and types as they are,
// and holds it against the one that is served.
func TestOpenAPIDocument(t *testing.T) {
	written, err := json.MarshalIndent(openAPIDocument(t), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	written = append(written, '\n')
	if *update {
		if err := os.WriteFile("openapi.json", written, 0o644); err != nil {
			t.Fatal(err)
		}
		openAPI = written // that the other tests see it, too
	}
	if !bytes.Equal(written, openAPI) {
		t.Error(
			"openapi.json is not what the routes and types say: go test ./endpoint/rest -run OpenAPI -update, and " +
				"look at what changed")
	}
}

// openAPIDocument describes the routes. It fails where a route has no operation,
// or an operation no route.
func openAPIDocument(t *testing.T) object {
	described := newSchemas(t)
	paths, left := object{}, make(map[string]bool)
	for name := range operations {
		left[name] = true
	}
	for _, route := range served() {
		name := route.Method + " " + string(route.Path)
		operation, ok := operations[name]
		if !ok {
			t.Errorf("the route %s is not described: give it a row in operations", name)
			continue
		}
		delete(left, name)
		path := string(route.Path)
		if paths[path] == nil {
			paths[path] = object{}
		}
		paths[path].(object)[strings.ToLower(route.Method)] = describeOperation(t, described, route, operation)
	}
	for name := range left {
		t.Errorf("%s is described, and no route", name)
	}
	described.of(contract.ErrorBody{}, false)
	described.of(contract.HubErrorBody{}, false)
	return object{
		"openapi": "3.0.3",
		"info": object{
			"title":   "Berth",
			"version": "1",
			"description": "The REST APIs of a Berth server: Azure's of the Device Provisioning Service and of IoT " +
				"Hub, and below /berth/ Berth's own, for what Azure offers by other means. Unknown fields of requests " +
				"are ignored, and answers may have more fields in later versions.",
		},
		"servers": []any{object{"url": "https://{host}",
			"variables": object{"host": object{"default": "localhost",
				"description": "Host name of the provisioning service, or of the hub"}}}},
		"tags": []any{
			object{"name": "Device registration",
				"description": "Operations of devices, which prove themselves by client certificate or shared access " +
					"signature"},
			object{"name": "Provisioning service", "description": "Operations of back ends, as in Azure"},
			object{"name": "IoT Hub", "description": "Operations of back ends on a hub, as in Azure"},
			object{"name": "Berth",
				"description": "Operations that Azure has in its portal and management API, or not at all"},
		},
		"security": []any{object{"sharedAccessSignature": []any{}}},
		"paths":    paths,
		"components": object{"schemas": described.components,
			"securitySchemes": object{"sharedAccessSignature": sharedAccessSignature}},
	}
}

var sharedAccessSignature = object{
	"type": "apiKey", "in": "header", "name": "Authorization",
	"description": "SharedAccessSignature sr={host}&sig={signature}&se={expiry}&skn={policy}, signed with a key of a " +
		"shared access policy that has the right which the operation needs",
}

// served are the operations that do something.
func served() []https.Operation {
	return slices.DeleteFunc(slices.Concat(Operations(Config{}), own.Operations(own.Config{})),
		func(one https.Operation) bool {
			return slices.ContainsFunc(unserved(), func(other https.Operation) bool {
				return one.Method == other.Method && one.Path == other.Path
			})
		})
}

func describeOperation(t *testing.T, described *schemas, route https.Operation, operation operation) object {
	var named []string
	for _, p := range operation.query {
		named = append(named, p.name)
	}
	if route.Path.IsOwn() && !(slices.Equal(named, route.Parameters) && operation.ifMatch == route.Conditional) {
		t.Errorf("%s %s reads %q and If-Match: %t. It is described with %q and %t", route.Method, route.Path,
			route.Parameters, route.Conditional, named, operation.ifMatch)
	}
	answer := object{"description": "Done"}
	status := operation.status
	if operation.answer != nil {
		kind := operation.kind
		if kind == "" {
			kind = jsonBody
		}
		answer["content"] = object{kind: object{"schema": described.of(operation.answer, false)}}
		if status == 0 {
			status = 200
		}
	} else if status == 0 {
		status = 204
	}
	if operation.etag {
		answer["headers"] = object{"ETag": object{"required": true, "schema": object{"type": "string"},
			"description": "For If-Match: the operation then happens only while nobody else has changed it"}}
	}
	fault := described.of(contract.ErrorBody{}, false)
	if route.API == https.HubAPI && !route.Flat {
		fault = described.of(contract.HubErrorBody{}, false)
	}
	result := object{
		"operationId": cmp.Or(operation.id, operationID(route)),
		"tags":        []any{tag(route)},
		"summary":     operation.summary,
		"parameters":  parameters(t, route, operation),
		"responses": object{
			fmt.Sprint(status): answer,
			"default": object{"description": "Refused: the message says why, and what to do",
				"content": object{jsonBody: object{"schema": fault}}},
		},
	}
	if operation.orEmpty {
		result["responses"].(object)["204"] = object{"description": "There is nothing"}
	}
	if operation.failed != nil {
		result["responses"].(object)["400"] = object{"description": "Some failed, the others are done; or, as an " +
			"error, refused as a whole", "content": object{jsonBody: object{"schema": object{"oneOf": []any{
			described.of(operation.failed, false), fault}}}}}
	}
	if operation.request != nil {
		content := object{jsonBody: object{"schema": described.of(operation.request, true)}}
		if route.Raw { // a message, or a batch
			content = object{batchType: content[jsonBody],
				"application/octet-stream": object{"schema": object{"type": "string", "format": "binary"}}}
		}
		result["requestBody"] = object{"required": true, "content": content}
	}
	if (operation.request != nil) != (route.MaxBody > 0) {
		t.Errorf("%s %s: the route takes %d bytes, the operation %T", route.Method, route.Path, route.MaxBody,
			operation.request)
	}
	switch {
	case route.Right != "":
		result["description"] = "Needs the right " + route.Right + "."
	case route.Path.IsOwn():
		result["security"] = []any{} // for everybody
	}
	return result
}

// operationID is the name of the function that carries the operation out.
func operationID(route https.Operation) string {
	name := runtime.FuncForPC(reflect.ValueOf(route.Handle).Pointer()).Name()
	name = strings.TrimSuffix(name[strings.LastIndexByte(name, '.')+1:], "-fm") // of a method
	if route.Method == "DELETE" && !strings.HasSuffix(string(route.Path), "}") {
		name += "All"
	}
	return name
}

func tag(route https.Operation) string {
	switch {
	case route.Path.IsOwn():
		return "Berth"
	case strings.HasPrefix(string(route.Path), "/{scope}/"):
		return "Device registration"
	case route.API == https.HubAPI:
		return "IoT Hub"
	}
	return "Provisioning service"
}

func parameters(t *testing.T, route https.Operation, operation operation) []any {
	all := []any{}
	add := func(in string, p parameter, required bool) {
		all = append(all,
			object{"in": in, "name": p.name, "description": p.description, "required": required,
				"schema": object{"type": "string"}})
	}
	before := ""
	for _, segment := range route.Path.Segments() {
		if name, ok := strings.CutPrefix(segment, "{"); ok {
			if pathParameters[before] == "" {
				t.Errorf("%s: nothing is said of the parameter after %q: give it a row in pathParameters", route.Path,
					before)
			}
			add("path", parameter{strings.TrimSuffix(name, "}"), pathParameters[before]}, true)
		}
		before = segment
	}
	if !route.Path.IsOwn() {
		add("query",
			parameter{"api-version", "Such as 2021-10-01 (provisioning) or 2021-04-12 (hub): which one makes " +
				"no difference"}, true)
	}
	for _, p := range operation.query {
		in := "query"
		if strings.HasPrefix(p.name, "x-ms-") {
			in = "header"
		}
		add(in, p, false)
	}
	if operation.ifMatch {
		add("header", parameter{"If-Match", "The ETag that the thing must still have, or * for any; without it the " +
			"operation happens whatever the state"}, false)
	}
	return all
}
