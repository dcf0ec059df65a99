package own

import (
	"slices"
	"strings"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/enroll"
	"github.com/berth-iot/berth/store"
)

// paging are the parameters of an address that page reads.
var paging = []string{"prefix", "after", "top"}

// list returns at most limit records whose names start with prefix, from the one behind
// after on, and the after of the next call, "" at the end.
type list[T any] func(prefix, after string, limit int) ([]T, string, error)

// page answers with a part of the records of a collection.
func page[T any](s *service, c *https.Call, collection string, read list[T]) (any, error) {
	top, err := c.Number("top", c.Query("top"), https.DefaultPage, https.MaxPage)
	if err != nil {
		return nil, err
	}
	prefix, after := c.Query("prefix"), c.Query("after")
	items, next, err := read(prefix, after, top)
	if err != nil {
		return nil, err
	}
	if s.Records == nil {
		return contract.Page[T]{Items: items, Next: next}, nil
	}
	// The list has passed over them.
	unreadable := slices.DeleteFunc(s.Records.Known(collection), func(r store.Unreadable) bool {
		return r.Collection != collection || !strings.HasPrefix(strings.ToLower(r.Key), strings.ToLower(prefix)) ||
			after != "" && r.Key <= after || next != "" && r.Key > next
	})
	return contract.Page[T]{Items: items, Next: next, Unreadable: listed(unreadable)}, nil
}

// listed are records that can't be read, as they are answered.
func listed(records []store.Unreadable) []contract.Unreadable {
	answered := make([]contract.Unreadable, len(records))
	for i, record := range records {
		answered[i] = contract.Unreadable(record)
	}
	return answered
}

func (s *service) pageOfEnrollments(c *https.Call) (any, error) {
	return page(s, c, enroll.EnrollmentRecords, func(prefix, after string,
		limit int) ([]enroll.Enrollment, string, error) {
		return s.Provisioning.Enrollments().List(c.Context(), prefix, after, limit)
	})
}

func (s *service) pageOfGroups(c *https.Call) (any, error) {
	return page(s, c, enroll.GroupRecords, func(prefix, after string,
		limit int) ([]enroll.Group, string, error) {
		return s.Provisioning.Groups().List(c.Context(), prefix, after, limit)
	})
}

func (s *service) pageOfRegistrations(c *https.Call) (any, error) {
	return page(s, c, provisioning.RegistrationRecords, func(prefix, after string,
		limit int) ([]provisioning.Registration, string, error) {
		return s.Provisioning.Registrations().List(c.Context(), prefix, after, limit)
	})
}

func (s *service) pageOfDevices(c *https.Call) (any, error) {
	return page(s, c, c.Hub.Registry().Collection(),
		func(prefix, after string, limit int) ([]identity.Device, string, error) {
			return c.Hub.Devices(c.Context(), prefix, after, limit)
		})
}
