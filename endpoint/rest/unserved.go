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
	groups, methods, queries := refuse("Enrollment groups"), refuse("Direct methods"), refuse("Queries of devices")
	return []route{
		{"POST", "/enrollmentGroups", provisioningAPI, "", smallBody, groups},
		{"POST", "/enrollmentGroups/query", provisioningAPI, "", smallBody, groups},
		{"GET", "/enrollmentGroups/{id}", provisioningAPI, "", 0, groups},
		{"PUT", "/enrollmentGroups/{id}", provisioningAPI, "", smallBody, groups},
		{"DELETE", "/enrollmentGroups/{id}", provisioningAPI, "", 0, groups},
		{"POST", "/enrollmentGroups/{id}/attestationmechanism", provisioningAPI, "", 0, groups},
		{"POST", "/registrations/{id}/query", provisioningAPI, "", smallBody, groups},
		{"POST", "/devices/query", hubAPI, "", smallBody, queries},
		{"POST", "/twins/{id}/methods", hubAPI, "", smallBody, methods},
	}
}
