package rest

import (
	"time"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/method"
)

// hubMethods are the calls of direct methods (Azure, IoT Hub service REST API).
func hubMethods() []https.Operation {
	return []https.Operation{
		iot("POST", contract.MethodsPath, hub.ServiceConnect, https.SmallBody, invokeMethod).NestFaults(),
		iot("POST", contract.ModuleMethodsPath, hub.ServiceConnect, https.SmallBody, invokeMethod).NestFaults(),
	}
}

// invokeMethod answers when the device has.
func invokeMethod(c *https.Call) (any, error) {
	var body contract.MethodCall
	if err := c.Decode(&body); err != nil {
		return nil, err
	}
	answer, err := invoke(c, hub.CallOf(body))
	if err != nil {
		return nil, err
	}
	return contract.MethodAnswer{Status: answer.Status, Payload: answer.Payload}, nil
}

// invoke calls a method of the device or module of the address.
func invoke(c *https.Call, call method.Call) (method.Answer, error) {
	if err := c.Wait(2 * method.MaxTimeout); err != nil {
		return method.Answer{}, err
	}
	id, err := c.IdentityID()
	if err != nil {
		return method.Answer{}, err
	}
	return c.Hub.InvokeMethod(c.Context(), id, call)
}

// maxSeconds is beyond all limits, and no overflow.
const maxSeconds = 1 << 30

func seconds(n *int) time.Duration {
	if n == nil {
		return 0
	}
	return time.Duration(max(-maxSeconds, min(*n, maxSeconds))) * time.Second
}
