package portal

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
)

// deviceRoutes are the devices of a hub.
var deviceRoutes = map[string]handler{
	"GET hubs/{hub}/devices":               reading(listDevices),
	"GET hubs/{hub}/devices/new":           reading(newDevice),
	"POST hubs/{hub}/devices/new":          writing(typedDevice, createDevice),
	"POST hubs/{hub}/devices/delete":       writing(confirmDevices, deleteDevices),
	"GET hubs/{hub}/device/{id}":           reading(showDevice),
	"POST hubs/{hub}/device/{id}":          writing(showDevice, setDeviceStatus),
	"GET hubs/{hub}/device/{id}/telemetry": reading(streamTelemetry),
	"GET hubs/{hub}/device/{id}/twin":      reading(showTwin),
	"POST hubs/{hub}/device/{id}/twin":     writing(typedTwin, saveTwin),
	"POST hubs/{hub}/device/{id}/json":     reading(inspectObject),
}

// devicePath is the path of a device's page.
func devicePath(h *hub.Hub, id string) string {
	return "hubs/" + url.PathEscape(h.Name()) + "/device/" + url.PathEscape(id)
}

// DevicePath is the path of a device's page, for links: Azure lets ids have what an
// address would be divided at.
func (v *view) DevicePath(hubName, id string) string {
	return "hubs/" + url.PathEscape(hubName) + "/device/" + url.PathEscape(id)
}

type devicesPage struct {
	list[hub.Device]
	Hub hubSummary
}

func listDevices(c *call) error {
	h, err := c.hub()
	if err != nil {
		return err
	}
	return c.show("devices", traffic(h), func() (any, error) {
		ctx := c.r.Context()
		l := list[hub.Device]{place: place{Prefix: c.query("prefix"), After: c.query("after")}}
		var err error
		if l.Items, l.Next, err = h.Devices(ctx, l.Prefix, l.After, pageSize); err != nil {
			return nil, err
		}
		if l.Total, err = h.DeviceCount(ctx); err != nil {
			return nil, err
		}
		return devicesPage{l, hubSummary{Name: h.Name(), Host: h.Host(), Stats: h.Stats()}}, nil
	})
}

func (c *call) deviceDeletion(h *hub.Hub) deletion {
	return deletion{
		Back:    "hubs/" + h.Name() + "/devices",
		Title:   "Delete %d device?|Delete %d devices?",
		Explain: "Their twins go with them, and their connections end. A device that is still enrolled comes back when it registers again.",
		Done:    "%d device was deleted|%d devices were deleted",
		gone:    fault.DeviceNotFound,
		ids:     idsOf(h.Devices, func(d hub.Device) string { return d.DeviceID }),
		delete: func(ctx context.Context, id string) error {
			return h.DeleteDevice(ctx, id, "")
		},
	}
}

func confirmDevices(c *call) error {
	h, err := c.hub()
	if err != nil {
		return err
	}
	return c.confirm(c.deviceDeletion(h))
}

func deleteDevices(c *call) error {
	h, err := c.hub()
	if err != nil {
		return err
	}
	return c.deleteSelected(c.deviceDeletion(h))
}

// deviceForm is the form that adds a device to a hub.
type deviceForm struct {
	Hub            string
	DeviceID       string
	Authentication hub.AuthenticationType
	Primary        string // a key or a thumbprint, by the authentication
	Secondary      string
	IoTEdge        bool
	Enabled        bool
	Problem        *fault.Error
}

func newDevice(c *call) error {
	h, err := c.hub()
	if err != nil {
		return err
	}
	return c.render(http.StatusOK, "device-new", deviceForm{Hub: h.Name(), Authentication: hub.SAS, Enabled: true})
}

func (c *call) readDeviceForm(h *hub.Hub) deviceForm {
	return deviceForm{
		Hub: h.Name(), DeviceID: c.text("deviceId"), Authentication: hub.AuthenticationType(c.value("authentication")),
		Primary: c.text("primary"), Secondary: c.text("secondary"), IoTEdge: c.value("iotEdge") != "", Enabled: c.value("enabled") != "",
	}
}

func typedDevice(c *call) error {
	h, err := c.hub()
	if err != nil {
		return err
	}
	return c.render(http.StatusOK, "device-new", c.readDeviceForm(h))
}

func createDevice(c *call) error {
	h, err := c.hub()
	if err != nil {
		return err
	}
	form := c.readDeviceForm(h)
	device, err := h.CreateDevice(c.r.Context(), form.device())
	if err == nil {
		c.say("ok", c.language.T("The device %s was added", device.DeviceID))
		return c.redirect(devicePath(h, device.DeviceID))
	}
	if form.Problem = fault.From(err); form.Problem.Code.Status() >= 500 {
		return err
	}
	return c.render(form.Problem.Code.Status(), "device-new", form)
}

func (f deviceForm) device() hub.Device {
	device := hub.Device{DeviceID: f.DeviceID, Status: "disabled", Capabilities: hub.Capabilities{IoTEdge: f.IoTEdge}}
	if f.Enabled {
		device.Status = "enabled"
	}
	authentication := &hub.Authentication{Type: f.Authentication}
	optional := func(text string) *string {
		if text == "" {
			return nil
		}
		return &text
	}
	switch f.Authentication {
	case hub.SelfSigned:
		plain := strings.NewReplacer(":", "", " ", "")
		authentication.X509Thumbprint = hub.ThumbprintPair{PrimaryThumbprint: optional(plain.Replace(f.Primary)), SecondaryThumbprint: optional(plain.Replace(f.Secondary))}
	case hub.SAS:
		authentication.SymmetricKey = hub.KeyPair{PrimaryKey: optional(f.Primary), SecondaryKey: optional(f.Secondary)}
	}
	device.Authentication = authentication
	return device
}

// setDeviceStatus enables or disables a device.
func setDeviceStatus(c *call) error {
	h, err := c.hub()
	if err != nil {
		return err
	}
	ctx, id := c.r.Context(), c.r.PathValue("id")
	device, err := h.Device(ctx, id)
	if err != nil {
		return err
	}
	device.Status = c.value("status")
	if _, err = h.UpdateDevice(ctx, device, device.ETag); err != nil && !errors.Is(err, fault.PreconditionFailed) {
		return err
	}
	if err != nil {
		c.say("error", c.language.T("Somebody else changed the device at the same moment. Look at it and repeat the change"))
	} else if device.Status == "enabled" {
		c.say("ok", c.language.T("The device %s may connect again", id))
	} else {
		c.say("ok", c.language.T("The device %s is disabled, and its connection has ended", id))
	}
	return c.redirect(devicePath(h, id))
}
