package provisioningpages

import (
	"context"

	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/provisioning"
)

func (p *Pages) registrationRoutes() web.Routes {
	return web.Routes{
		"GET registrations":         web.RequireSession(p.listRegistrations),
		"POST registrations/delete": web.HandleDeletion(p.registrationDeletion),
	}
}

// statuses are those that registration records are filtered by.
var statuses = []provisioning.Status{
	provisioning.StatusAssigned,
	provisioning.StatusAssigning,
	provisioning.StatusFailed,
	provisioning.StatusDisabled,
	provisioning.StatusUnassigned,
}

type registrationsPage struct {
	web.List[provisioning.Registration]
	Statuses []provisioning.Status
}

func (p *Pages) listRegistrations(c *web.Call) error {
	return c.Show("registrations", nil, func() (any, error) {
		ctx, service := c.Context(), p.Provisioning
		l := web.List[provisioning.Registration]{
			Position: web.Position{Prefix: c.Query("prefix"), Status: c.Query("status"), After: c.Query("after")},
		}
		var err error
		filter := provisioning.RegistrationFilter{Prefix: l.Prefix, Status: provisioning.Status(l.Status)}
		if l.Items, l.Next, err = service.Registrations().Find(ctx, filter, l.After, web.PageSize); err != nil {
			return nil, err
		}
		counts, err := service.Counts(ctx)
		l.Total = counts.Registrations
		return registrationsPage{l, statuses}, err
	})
}

func (p *Pages) registrationDeletion(c *web.Call) (web.Deletion, error) {
	return web.Deletion{
		Back:    "registrations",
		Title:   "Delete %d registration record?|Delete %d registration records?",
		Explain: "The devices stay in their hub. When they register again they are assigned as if for the first time.",
		Done:    "%d registration record was deleted|%d registration records were deleted",
		Gone:    fault.RegistrationNotFound,
		Record:  p.recordDeletion(audit.Registration),
		IDs: func(ctx context.Context, at web.Position, limit int) (ids []string, next string, err error) {
			find := func(
				ctx context.Context, prefix, after string, limit int,
			) ([]provisioning.Registration, string, error) {
				filter := provisioning.RegistrationFilter{Prefix: prefix, Status: provisioning.Status(at.Status)}
				return p.Provisioning.Registrations().Find(ctx, filter, after, limit)
			}
			id := func(r provisioning.Registration) string { return r.RegistrationID }
			return web.ListIDs(find, id)(ctx, at, limit)
		},
		Delete: func(ctx context.Context, id string) error {
			return p.Provisioning.Registrations().Delete(ctx, id, "")
		},
	}, nil
}
