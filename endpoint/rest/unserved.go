package rest

import (
	"strings"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/fault"
)

// unservedOperations are operations of Azure's contract that this version does not have.
var unservedOperations = []struct {
	what, methods string
	path          contract.Path
}{
	{"File uploads", "POST", "/devices/{id}/files"},
	{"File uploads", "POST", "/devices/{id}/files/notifications"},
}

// unserved are the operations that refuse those. Who asks for one is told so, rather than
// that the address is wrong.
func unserved() (operations []https.Operation) {
	for _, operation := range unservedOperations {
		refuse := func(*https.Call) (any, error) {
			return nil, fault.New(fault.NotFound, "%s are not served by this version of Berth", operation.what)
		}
		for method := range strings.FieldsSeq(operation.methods) {
			operations = append(operations, iot(method, operation.path, "", https.TwinBody, refuse))
		}
	}
	return operations
}
