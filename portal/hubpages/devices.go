package hubpages

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/identity"
	"github.com/berth-iot/berth/portal/web"
)

// deviceRoutes are the devices of a hub.
func (p *Pages) deviceRoutes() web.Routes {
	return web.Routes{
		"GET hubs/{hub}/devices":               web.RequireSession(p.listDevices),
		"GET hubs/{hub}/devices/new":           web.RequireSession(p.newDevice),
		"POST hubs/{hub}/devices/new":          web.RequireOperator(p.restoreDevice, p.createDevice),
		"POST hubs/{hub}/devices/delete":       web.HandleDeletion(p.deviceDeletion),
		"GET hubs/{hub}/device/{id}":           web.RequireSession(p.showDevice),
		"POST hubs/{hub}/device/{id}":          web.RequireOperator(p.showDevice, p.setDeviceStatus),
		"GET hubs/{hub}/device/{id}/telemetry": web.RequireSession(p.streamTelemetry),
		"GET hubs/{hub}/device/{id}/twin":      web.RequireSession(p.showTwin),
		"POST hubs/{hub}/device/{id}/twin":     web.RequireOperator(p.restoreTwin, p.saveTwin),
		"POST hubs/{hub}/device/{id}/json":     web.RequireSession(p.inspectObject),

		"GET hubs/{hub}/device/{id}/messages":        web.RequireSession(p.showMessages),
		"POST hubs/{hub}/device/{id}/messages":       web.RequireOperator(p.restoreMessage, p.sendMessage),
		"POST hubs/{hub}/device/{id}/messages/purge": web.HandleDeletion(p.purge),
	}
}

type devicesPage struct {
	web.List[identity.Device]
	Hub Summary
}

func (p *Pages) listDevices(c *web.Call) error {
	h, err := p.Hub(c)
	if err != nil {
		return err
	}
	return c.Show("devices", trafficRevision(h), func() (any, error) {
		ctx := c.Context()
		l := web.List[identity.Device]{Position: web.Position{Prefix: c.Query("prefix"), After: c.Query("after")}}
		var err error
		if l.Items, l.Next, err = h.Devices(ctx, l.Prefix, l.After, web.PageSize); err != nil {
			return nil, err
		}
		if l.Total, err = h.Registry().Count(ctx); err != nil {
			return nil, err
		}
		return devicesPage{l, Summary{Name: h.Name(), Host: h.Host(), Stats: h.Stats()}}, nil
	})
}

func (p *Pages) deviceDeletion(c *web.Call) (web.Deletion, error) {
	h, err := p.Hub(c)
	if err != nil {
		return web.Deletion{}, err
	}
	return web.Deletion{
		Back:  "hubs/" + web.Segment(h.Name()) + "/devices",
		Title: "Delete %d device?|Delete %d devices?",
		Explain: "Their twins go with them, and their connections end. " +
			"A device that is still enrolled comes back when it registers again.",
		Done: "%d device was deleted|%d devices were deleted",
		Gone: fault.DeviceNotFound,
		IDs:  web.ListIDs(h.Devices, func(d identity.Device) string { return d.DeviceID }),
		Delete: func(ctx context.Context, id string) error {
			return h.DeleteDevice(ctx, id, "")
		},
	}, nil
}

// deviceForm is the form that adds a device to a hub.
type deviceForm struct {
	Hub            string
	DeviceID       string
	Authentication identity.AuthenticationType
	Primary        string // a key or a thumbprint, by the authentication
	Secondary      string
	IoTEdge        bool
	Enabled        bool
	Problem        *fault.Error
}

func (p *Pages) newDevice(c *web.Call) error {
	h, err := p.Hub(c)
	if err != nil {
		return err
	}
	return c.Render(http.StatusOK, "device-new", deviceForm{Hub: h.Name(), Authentication: identity.SAS, Enabled: true})
}

func (p *Pages) readDeviceForm(c *web.Call, h *hub.Hub) deviceForm {
	return deviceForm{
		Hub:            h.Name(),
		DeviceID:       c.Text("deviceId"),
		Authentication: identity.AuthenticationType(c.Value("authentication")),
		Primary:        c.Text("primary"),
		Secondary:      c.Text("secondary"),
		IoTEdge:        c.Value("iotEdge") != "",
		Enabled:        c.Value("enabled") != "",
	}
}

func (p *Pages) restoreDevice(c *web.Call) error {
	h, err := p.Hub(c)
	if err != nil {
		return err
	}
	return c.Render(http.StatusOK, "device-new", p.readDeviceForm(c, h))
}

func (p *Pages) createDevice(c *web.Call) error {
	h, err := p.Hub(c)
	if err != nil {
		return err
	}
	form := p.readDeviceForm(c, h)
	device, err := h.CreateDevice(c.Context(), form.device())
	if err == nil {
		c.Notify("ok", c.T("The device %s was added", device.DeviceID))
		return c.Redirect(devicePath(h.Name(), device.DeviceID))
	}
	if form.Problem = fault.From(err); form.Problem.Code.Status() >= 500 {
		return err
	}
	return c.Render(form.Problem.Code.Status(), "device-new", form)
}

func (f deviceForm) device() identity.Device {
	device := identity.Device{DeviceID: f.DeviceID, Status: "disabled",
		Capabilities: identity.Capabilities{IoTEdge: f.IoTEdge}}
	if f.Enabled {
		device.Status = "enabled"
	}
	authentication := &identity.Authentication{Type: f.Authentication}
	optional := func(text string) *string {
		if text == "" {
			return nil
		}
		return &text
	}
	switch f.Authentication {
	case identity.SelfSigned:
		plain := strings.NewReplacer(":", "", " ", "")
		authentication.X509Thumbprint = identity.ThumbprintPair{
			PrimaryThumbprint:   optional(plain.Replace(f.Primary)),
			SecondaryThumbprint: optional(plain.Replace(f.Secondary)),
		}
	case identity.SAS:
		authentication.SymmetricKey = identity.KeyPair{
			PrimaryKey:   optional(f.Primary),
			SecondaryKey: optional(f.Secondary),
		}
	}
	device.Authentication = authentication
	return device
}

// setDeviceStatus enables or disables a device.
func (p *Pages) setDeviceStatus(c *web.Call) error {
	h, err := p.Hub(c)
	if err != nil {
		return err
	}
	ctx, id := c.Context(), c.PathValue("id")
	device, err := h.Device(ctx, id)
	if err != nil {
		return err
	}
	device.Status = c.Value("status")
	if _, err = h.UpdateDevice(ctx, device, device.ETag); err != nil && !errors.Is(err, fault.PreconditionFailed) {
		return err
	}
	if err != nil {
		c.Notify("error", c.T("Somebody else changed the device at the same moment. Look at it and repeat the change"))
	} else if device.Status == "enabled" {
		c.Notify("ok", c.T("The device %s may connect again", id))
	} else {
		c.Notify("ok", c.T("The device %s is disabled, and its connection has ended", id))
	}
	return c.Redirect(devicePath(h.Name(), id))
}
