package provisioningpages

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/berth-iot/berth/attest"
	"github.com/berth-iot/berth/audit"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/portal/web"
	"github.com/berth-iot/berth/provisioning"
	"github.com/berth-iot/berth/provisioning/enroll"
)

// groupRoutes are the enrollment groups.
func (p *Pages) groupRoutes() web.Routes {
	return web.Routes{
		"GET groups":         web.RequireSession(p.listGroups),
		"GET groups/new":     web.RequireSession(p.newGroup),
		"POST groups/new":    web.RequireOperator(p.restoreGroup, p.saveGroup),
		"GET group/{id}":     web.RequireSession(p.editGroup),
		"POST group/{id}":    web.RequireOperator(p.restoreGroup, p.saveGroup),
		"POST groups/delete": web.HandleDeletion(p.groupDeletion),
	}
}

func (p *Pages) listGroups(c *web.Call) error {
	return c.Show("groups", nil, func() (any, error) {
		l := web.List[enroll.Group]{
			Position: web.Position{Prefix: c.Query("prefix"), After: c.Query("after")},
		}
		var err error
		l.Items, l.Next, err = p.Provisioning.Groups().List(c.Context(), l.Prefix, l.After, web.PageSize)
		return l, err
	})
}

func (p *Pages) groupDeletion(c *web.Call) (web.Deletion, error) {
	return web.Deletion{
		Back:  "groups",
		Title: "Delete %d enrollment group?|Delete %d enrollment groups?",
		Explain: "Their devices can't register any more, unless they have an enrollment of their own. " +
			"Those that did stay in their hub, and their registration records stay too.",
		Done:   "%d enrollment group was deleted|%d enrollment groups were deleted",
		Gone:   fault.GroupNotFound,
		Record: p.recordDeletion(audit.Group),
		IDs: web.ListIDs(p.Provisioning.Groups().List,
			func(g enroll.Group) string { return g.EnrollmentGroupID }),
		Delete: func(ctx context.Context, id string) error {
			return p.Provisioning.Groups().Delete(ctx, id, "")
		},
	}, nil
}

// groupPage is the form that adds or edits a group, and for a group that there is
// its devices.
type groupPage struct {
	settingsForm
	GroupID string
	Replace bool // existing devices
	Stored  enroll.Group
	Members web.List[provisioning.Registration]
	Device  derivedKeys
}

// derivedKeys are those of one device of a group with symmetric keys.
type derivedKeys struct {
	RegistrationID string // that was asked for
	Keys           *keys
	Problem        *fault.Error
}

func (p *Pages) newGroup(c *web.Call) error {
	return p.renderGroup(c, http.StatusOK, groupPage{settingsForm: newSettings(true)})
}

func (p *Pages) editGroup(c *web.Call) error {
	return c.Show("group", nil, func() (any, error) {
		ctx, service, id := c.Context(), p.Provisioning, c.PathValue("id")
		stored, err := service.Groups().Get(ctx, id)
		if err != nil {
			return nil, err
		}
		page := groupPage{
			settingsForm: settingsOf(&stored.Settings, true),
			GroupID:      stored.EnrollmentGroupID,
			Replace:      stored.ReplaceExistingDevices != nil && *stored.ReplaceExistingDevices,
			Stored:       stored,
		}
		if page.HasKeys && c.ShowsSecret("keys") {
			if page.StoredKeys, err = keysOf(service.Groups().AttestationMechanism(ctx, id)); err != nil {
				return nil, err
			}
		}
		if page.Device, err = p.deriveKeys(c, page); err != nil {
			return nil, err
		}
		return p.completeGroup(c, page)
	})
}

// deriveKeys returns the keys of the device that the page was asked for.
func (p *Pages) deriveKeys(c *web.Call, page groupPage) (device derivedKeys, err error) {
	device.RegistrationID = c.Query("registrationId")
	if device.RegistrationID == "" || !page.HasKeys || !c.Operator() {
		return device, nil
	}
	// The service knows what a registration id is, and says what is wrong with one.
	_, err = p.Provisioning.Registrations().Get(c.Context(), device.RegistrationID)
	if errors.Is(err, fault.InvalidRegistrationID) {
		device.Problem = fault.From(err)
		return device, nil
	}
	group, err := keysOf(p.Provisioning.Groups().AttestationMechanism(c.Context(), page.GroupID))
	if err == nil && group != nil {
		device.Keys = &keys{
			attest.DeriveKey(group.Primary, device.RegistrationID),
			attest.DeriveKey(group.Secondary, device.RegistrationID),
		}
	}
	return device, err
}

// completeGroup adds what the page shows beside the form.
func (p *Pages) completeGroup(c *web.Call, page groupPage) (groupPage, error) {
	page.offerHubs(p.Provisioning.Links().Hosts())
	page.nameFields()
	choices, err := p.verifiedAuthorities(c)
	if err != nil {
		return page, err
	}
	page.Choices = choices
	for _, name := range []string{page.Authority, page.Next} {
		if name != "" && !slices.Contains(page.Choices, name) {
			page.Choices = append(page.Choices, name) // no longer verified, and named all the same
		}
	}
	if page.New || page.Vanished {
		return page, nil
	}
	page.Members = web.List[provisioning.Registration]{
		Position: web.Position{After: c.Query("after")},
		Part:     "registrations",
	}
	page.Members.Items, page.Members.Next, err = p.Provisioning.Registrations().ListOfGroup(c.Context(), page.GroupID,
		page.Members.After, web.PageSize)
	return page, err
}

func (p *Pages) renderGroup(c *web.Call, status int, page groupPage) error {
	page, err := p.completeGroup(c, page)
	if err != nil {
		return err
	}
	return c.Render(status, "group", page)
}

// readGroup takes what was typed, with what is wrong in it.
func (p *Pages) readGroup(c *web.Call) (groupPage, error) {
	page := groupPage{
		settingsForm: p.readSettings(c, true),
		GroupID:      c.Text("groupId"),
		Replace:      c.Value("replace") != "",
	}
	if !page.New {
		page.GroupID = c.PathValue("id")
	}
	stored, err := p.Provisioning.Groups().Get(c.Context(), page.GroupID)
	switch {
	case err == nil && !page.New:
		page.Stored = stored
		page.setStored(&stored.Settings)
	case err == nil: // saving it says that there is one already
	case errors.Is(err, fault.GroupNotFound):
		page.Vanished = !page.New
	case page.New && fault.From(err).Code.Status() < 500:
		page.Problems["groupId"] = fault.From(err)
	default:
		return page, err
	}
	page.check()
	return page, nil
}

// restoreGroup shows again what was typed.
func (p *Pages) restoreGroup(c *web.Call) error {
	page, err := p.readGroup(c)
	if err != nil {
		return err
	}
	return p.renderGroup(c, http.StatusOK, page)
}

// saveGroup writes what was typed, if nobody else wrote meanwhile.
func (p *Pages) saveGroup(c *web.Call) error {
	page, err := p.readGroup(c)
	if err != nil {
		return err
	}
	if page.invalid() {
		return p.renderGroup(c, http.StatusBadRequest, page)
	}
	wanted := page.group()
	ctx, service := c.Context(), p.Provisioning
	if page.creates() {
		_, err = service.Groups().Create(ctx, wanted)
	} else {
		_, err = service.Groups().Put(ctx, wanted, page.ETag)
	}
	if err == nil {
		c.Notify("ok", c.T("The enrollment group %s was saved", wanted.EnrollmentGroupID))
		return c.Redirect("groups")
	}
	status := page.refuse(err, comparableGroup(page.Stored), comparableGroup(wanted))
	if status >= 500 {
		return err
	}
	return p.renderGroup(c, status, page)
}

// group is what the form asks to be stored.
func (p *groupPage) group() enroll.Group {
	wanted := p.Stored
	wanted.EnrollmentGroupID = p.GroupID
	if wanted.ReplaceExistingDevices = nil; p.Replace || p.Stored.ReplaceExistingDevices != nil {
		wanted.ReplaceExistingDevices = &p.Replace
	}
	p.apply(&wanted.Settings)
	return wanted
}

// comparableGroup is what two people may have changed differently, as text.
func comparableGroup(g enroll.Group) string {
	clearIncidental(&g.Settings, true)
	return web.FormatJSON(g)
}
