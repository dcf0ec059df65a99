package https

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/credential"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub/throttle"
)

// API is who answers, which decides how a refusal looks and whose policies are asked.
type API int

// The services that have operations.
const (
	ProvisioningAPI API = iota
	HubAPI
)

// Limits of bodies, in bytes.
const (
	SmallBody = 256 << 10 // one enrollment or device
	TwinBody  = 2 << 20   // one twin, as a client sends it back with its metadata
	LargeBody = 4 << 20   // a hundred of them
)

// Handler carries out an operation. It returns what is answered in JSON, nil for an
// answer without a body, or why it refuses.
type Handler func(*Call) (any, error)

// Operation is one that a service has at an address. The words of the path are compared
// without case.
type Operation struct {
	Method  string
	Path    contract.Path
	API     API
	Right   string // that the token must have; "" when the operation judges the caller itself
	MaxBody int64  // bytes; 0 is no body
	Raw     bool   // the body need not be JSON, and Handle reads it: see Call.ReadBody
	Handle  Handler
	Nested  bool // refusals are JSON in a string, see WriteNestedFault
	Flat    bool // refusals are the JSON of the fault itself, see WriteFlatFault

	Throttle throttle.Kind // of a hub's operation, as what it is counted

	// Of Berth's own operations: what they read besides. Anything else is refused. Azure's
	// leave aside what they do not know, as Azure does.
	Parameters  []string // of the address
	Conditional bool     // by If-Match
}

// Operation returns an operation of the service.
func (a API) Operation(method string, path contract.Path, right string, maxBody int64, handle Handler) Operation {
	return Operation{Method: method, Path: path, API: a, Right: right, MaxBody: maxBody, Handle: handle}
}

// Throttled returns the operation that counts as one of a kind.
func (o Operation) Throttled(kind throttle.Kind) Operation {
	o.Throttle = kind
	return o
}

// RawBody returns the operation whose body may be anything.
func (o Operation) RawBody() Operation {
	o.Raw = true
	return o
}

// With returns the operation that reads these parameters of the address.
func (o Operation) With(parameters ...string) Operation {
	o.Parameters = parameters
	return o
}

// IfMatch returns the operation that goes by the header If-Match.
func (o Operation) IfMatch() Operation {
	o.Conditional = true
	return o
}

// FlattenFaults returns the operation that refuses as a hub refuses one on modules.
func (o Operation) FlattenFaults() Operation {
	o.Flat = true
	return o
}

// NestFaults returns the operation that refuses as a hub refuses a call of a method.
func (o Operation) NestFaults() Operation {
	o.Nested = true
	return o
}

// check refuses a request that asks for more than the operation goes by: what is left
// aside would be taken for done.
func (o Operation) check(r *http.Request) error {
	if !o.Path.IsOwn() {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(r.URL.Query())) {
		if name == "api-version" || slices.Contains(o.Parameters, name) {
			continue
		}
		if len(o.Parameters) == 0 {
			return fault.New(fault.ArgumentInvalid,
				"The address has the parameter %.64q, and this operation has none. Leave it out", name)
		}
		return fault.New(fault.ArgumentInvalid, "The address has the parameter %.64q, which this operation does not "+
			"have. It has %s", name, strings.Join(o.Parameters, ", "))
	}
	ifMatch := r.Header.Get("If-Match")
	if o.Method != http.MethodGet && !o.Conditional && ifMatch != "" && strings.Trim(ifMatch, `"`) != "*" {
		return fault.New(fault.PreconditionFailed,
			"If-Match is %.64s, and there is no ETag here that it could be. Leave it out", ifMatch)
	}
	return nil
}

// find returns the operation for a request. Paths are decoded segment by
// segment, so that an id may contain what would else separate. Where the path is
// right and the method is not, it says in the answer's header what is allowed.
func (d *door) find(answer http.Header, r *http.Request) (Operation, map[string]string, error) {
	segments := strings.Split(strings.Trim(r.URL.EscapedPath(), "/"), "/")
	for i, segment := range segments {
		decoded, err := url.PathUnescape(segment)
		if err != nil {
			return Operation{}, nil, fault.New(fault.BadRequest, "The address is not percent-encoded")
		}
		segments[i] = decoded
	}
	method, err := methodOf(r)
	if err != nil {
		return Operation{}, nil, err
	}
	var allowed []string
	for _, candidate := range d.operations {
		parameters, ok := candidate.match(segments)
		if !ok {
			continue
		}
		if candidate.Method == method {
			return candidate, parameters, nil
		}
		allowed = append(allowed, candidate.Method)
	}
	if allowed != nil {
		answer.Set("Allow", strings.Join(allowed, ", "))
		return Operation{}, nil, fault.New(fault.MethodNotAllowed, "%.32s is not possible here, but %s", method,
			strings.Join(allowed, ", "))
	}
	return Operation{}, nil, fault.New(fault.NotFound, "There is nothing at %.200q", r.URL.Path)
}

func (o Operation) match(segments []string) (map[string]string, bool) {
	wanted := o.Path.Segments()
	if len(wanted) != len(segments) {
		return nil, false
	}
	parameters := make(map[string]string)
	for i, want := range wanted {
		if name, ok := strings.CutPrefix(want, "{"); ok {
			if segments[i] == "" {
				return nil, false
			}
			parameters[strings.TrimSuffix(name, "}")] = segments[i]
		} else if !strings.EqualFold(want, segments[i]) {
			return nil, false
		}
	}
	return parameters, true
}

// resource is the path that a token must be good for: the words as the contract
// has them, and the ids that are asked for.
func (o Operation) resource(parameters map[string]string) (path []credential.Segment) {
	for _, segment := range o.Path.Segments() {
		if name, ok := strings.CutPrefix(segment, "{"); ok {
			id := parameters[strings.TrimSuffix(name, "}")]
			path = append(path, credential.Segment{Text: id, Exact: o.API == HubAPI})
			continue
		}
		path = append(path, credential.Segment{Text: segment})
	}
	return path
}
