package rest

import "github.com/berth-iot/berth/fault"

// unserved are operations of Azure's contract that this version does not have.
// Who asks for one is told so, rather than that the address is wrong.
func (h *handler) unserved() []route {
	refuse := func(what string) func(*call) (any, error) {
		return func(*call) (any, error) {
			return nil, fault.New(fault.NotFound, "%s are not served by this version of Berth", what)
		}
	}
	return []route{
		{"POST", "/twins/{id}/methods", hubAPI, "", smallBody, refuse("Direct methods")},
	}
}
