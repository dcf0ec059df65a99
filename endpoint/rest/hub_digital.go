package rest

import (
	"net/http"
	"strconv"
	"time"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/method"
)

// hubDigitalTwins are the operations on digital twins (Azure, IoT Hub service REST API): a
// view of twins, and methods under other names.
func hubDigitalTwins() []https.Operation {
	return []https.Operation{
		iot("GET", contract.DigitalTwinPath, hub.ServiceConnect, 0, getDigitalTwin),
		iot("PATCH", contract.DigitalTwinPath, hub.ServiceConnect, https.SmallBody, patchDigitalTwin),
		iot("POST", contract.CommandPath, hub.ServiceConnect, https.SmallBody, invokeCommand).NestFaults(),
		iot("POST", contract.ComponentCommandPath, hub.ServiceConnect, https.SmallBody,
			invokeComponentCommand).NestFaults(),
	}
}

func getDigitalTwin(c *https.Call) (any, error) {
	view, etag, err := c.Hub.DigitalTwin(c.Context(), c.Parameter("id"))
	return c.Tagged(view, etag, err)
}

// patchDigitalTwin answers 202: what is desired is on record, and the device has yet to do
// it.
func patchDigitalTwin(c *https.Call) (any, error) {
	id := c.Parameter("id")
	etag, err := c.Hub.PatchDigitalTwin(c.Context(), id, c.Content, c.Header.Get("If-Match"))
	if err != nil {
		return nil, err
	}
	c.Status = http.StatusAccepted
	c.SetHeader("Location", "https://"+c.Host+string(contract.DigitalTwinPath.With(id)))
	return c.Tagged(nil, etag, nil)
}

func invokeCommand(c *https.Call) (any, error) { return command(c, "") }

func invokeComponentCommand(c *https.Call) (any, error) { return command(c, c.Parameter("component")) }

// command calls the method that a command is. The answer is the device's payload, and its
// status a header.
func command(c *https.Call, component string) (any, error) {
	call := method.Call{Name: contract.CommandMethod(component, c.Parameter("command")), Payload: c.Content,
		ResponseTimeout: method.DefaultResponseTimeout}
	for name, into := range map[string]*time.Duration{
		"responseTimeoutInSeconds": &call.ResponseTimeout, "connectTimeoutInSeconds": &call.ConnectTimeout,
	} {
		text := c.Query(name)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, fault.New(fault.ArgumentInvalid, "%s must be a whole number, not %.32q", name, text)
		}
		*into = seconds(&n)
	}
	answer, err := invoke(c, call)
	if err != nil {
		return nil, err
	}
	c.SetHeader(contract.CommandStatusHeader, strconv.Itoa(answer.Status))
	return answer.Payload, nil
}
