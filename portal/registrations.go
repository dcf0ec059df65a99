package portal

import (
	"context"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/provisioning"
)

var registrationRoutes = map[string]handler{
	"GET registrations":         reading(listRegistrations),
	"POST registrations/delete": writing(confirmRegistrations, deleteRegistrations),
}

// statuses are those that registration records are filtered by.
var statuses = []provisioning.Status{provisioning.StatusAssigned, provisioning.StatusAssigning, provisioning.StatusFailed, provisioning.StatusDisabled, provisioning.StatusUnassigned}

type registrationsPage struct {
	list[provisioning.Registration]
	Statuses []provisioning.Status
}

func listRegistrations(c *call) error {
	return c.show("registrations", nil, func() (any, error) {
		ctx, service := c.r.Context(), c.config.Provisioning
		l := list[provisioning.Registration]{place: place{Prefix: c.query("prefix"), Status: c.query("status"), After: c.query("after")}}
		var err error
		filter := provisioning.RegistrationFilter{Prefix: l.Prefix, Status: provisioning.Status(l.Status)}
		if l.Items, l.Next, err = service.FindRegistrations(ctx, filter, l.After, pageSize); err != nil {
			return nil, err
		}
		counts, err := service.Counts(ctx)
		l.Total = counts.Registrations
		return registrationsPage{l, statuses}, err
	})
}

func (c *call) registrationDeletion() deletion {
	return deletion{
		Back:    "registrations",
		Title:   "Delete %d registration record?|Delete %d registration records?",
		Explain: "The devices stay in their hub. When they register again they are assigned as if for the first time.",
		Done:    "%d registration record was deleted|%d registration records were deleted",
		gone:    fault.RegistrationNotFound,
		kind:    audit.Registration,
		ids: func(ctx context.Context, at place, limit int) (ids []string, next string, err error) {
			find := func(ctx context.Context, prefix, after string, limit int) ([]provisioning.Registration, string, error) {
				filter := provisioning.RegistrationFilter{Prefix: prefix, Status: provisioning.Status(at.Status)}
				return c.config.Provisioning.FindRegistrations(ctx, filter, after, limit)
			}
			return idsOf(find, func(r provisioning.Registration) string { return r.RegistrationID })(ctx, at, limit)
		},
		delete: func(ctx context.Context, id string) error {
			return c.config.Provisioning.DeleteRegistration(ctx, id, "")
		},
	}
}

func confirmRegistrations(c *call) error { return c.confirm(c.registrationDeletion()) }
func deleteRegistrations(c *call) error  { return c.deleteSelected(c.registrationDeletion()) }
