"""Digital twins through azure-iot-hub: a device that follows the conventions of IoT Plug and Play."""
import json
import os
import queue
import unittest

from azure.iot.device import IoTHubDeviceClient, MethodResponse
from azure.iot.hub import DigitalTwinClient
from msrest.exceptions import HttpOperationError

import service

DEVICE = "python-digital"
MODEL = "dtmi:com:example:TemperatureController;1"


class DigitalTwin(unittest.TestCase):
    def test_device_with_components(self):
        twins = DigitalTwinClient.from_connection_string(os.environ["IOTHUB_CONNECTION_STRING"])
        device = service.create_device(DEVICE)
        self.addCleanup(service.hub.call, "DELETE", f"/devices/{DEVICE}")
        client = IoTHubDeviceClient.create_from_connection_string(device["connectionString"], product_info=MODEL)
        self.addCleanup(client.shutdown)
        patches = queue.Queue()
        client.on_twin_desired_properties_patch_received = patches.put
        client.on_method_request_received = lambda request: client.send_method_response(
            MethodResponse.create_from_method_request(request, 203, [request.name, request.payload]))
        client.connect()
        client.patch_twin_reported_properties(
            {"serialNumber": "alwinexlepaho8329", "thermostat1": {"__t": "c", "maxTempSinceLastReboot": 25.3}})

        twins.update_digital_twin(DEVICE, [{"op": "add", "path": "/thermostat1/targetTemperature", "value": 21.4}])
        self.assertEqual({"thermostat1": {"__t": "c", "targetTemperature": 21.4}, "$version": 2},
                         patches.get(timeout=20))
        client.patch_twin_reported_properties(
            {"thermostat1": {"__t": "c", "targetTemperature": {"value": 21.4, "ac": 200, "av": 2, "ad": "done"}}})
        view = twins.get_digital_twin(DEVICE)
        self.assertEqual((DEVICE, MODEL, "alwinexlepaho8329"),
                         (view["$dtId"], view["$metadata"]["$model"], view["serialNumber"]))
        self.assertEqual(21.4, view["thermostat1"]["targetTemperature"])
        target = view["thermostat1"]["$metadata"]["targetTemperature"]
        self.assertIn("lastUpdateTime", target)
        self.assertEqual({"desiredValue": 21.4, "desiredVersion": 2, "ackVersion": 2, "ackCode": 200,
                          "ackDescription": "done", "lastUpdateTime": target["lastUpdateTime"]}, target)

        self.assertEqual(["reboot", 5], twins.invoke_command(DEVICE, "reboot", 5, 20, 20))
        self.assertEqual(["thermostat1*getMaxMinReport", {"since": "now"}], twins.invoke_component_command(
            DEVICE, "thermostat1", "getMaxMinReport", {"since": "now"}, 20, 20))

        with self.assertRaises(HttpOperationError) as refused:
            twins.update_digital_twin(DEVICE, [{"op": "move", "path": "/a", "from": "/b"}])
        self.assertEqual("InvalidDigitalTwinPatch", refused.exception.response.headers["iothub-errorcode"])
        client.disconnect()
        with self.assertRaises(HttpOperationError) as refused:
            twins.invoke_command(DEVICE, "reboot", 5)
        self.assertEqual(404103, json.loads(json.loads(refused.exception.response.text)["Message"])["errorCode"])


if __name__ == "__main__":
    unittest.main()
