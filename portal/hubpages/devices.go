package hubpages

import (
	"context"
	"errors"
	"net/http"

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
	credentialForm
	Hub      string
	DeviceID string
	IoTEdge  bool
	Enabled  bool
	Problem  *fault.Error
}

func (p *Pages) newDevice(c *web.Call) error {
	h, err := p.Hub(c)
	if err != nil {
		return err
	}
	return c.Render(http.StatusOK, "device-new", deviceForm{Hub: h.Name(), Enabled: true,
		credentialForm: credentialForm{Authentication: identity.SAS}})
}

func (p *Pages) readDeviceForm(c *web.Call, h *hub.Hub) deviceForm {
	return deviceForm{
		credentialForm: readCredentialForm(c),
		Hub:            h.Name(),
		DeviceID:       c.Text("deviceId"),
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
	device := identity.Device{DeviceID: f.DeviceID, Status: identity.Disabled, Authentication: f.authentication(),
		Capabilities: identity.Capabilities{IoTEdge: f.IoTEdge}}
	if f.Enabled {
		device.Status = identity.Enabled
	}
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
