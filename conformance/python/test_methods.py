"""Direct methods through Azure's Python clients: a device, called by azure-iot-hub."""
import json
import os
import unittest

from azure.iot.device import IoTHubDeviceClient, MethodResponse
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import CloudToDeviceMethod
from msrest.exceptions import HttpOperationError

import service

DEVICE = "python-methods"


class Methods(unittest.TestCase):
    def setUp(self):
        self.manager = IoTHubRegistryManager.from_connection_string(os.environ["IOTHUB_CONNECTION_STRING"])
        self.device = service.create_device(DEVICE)
        self.addCleanup(service.hub.call, "DELETE", f"/devices/{DEVICE}")

    def call(self, name, **options):
        return self.manager.invoke_device_method(DEVICE, CloudToDeviceMethod(method_name=name, **options))

    def refusal(self, name, **options):
        """The code and info of a call that is refused."""
        with self.assertRaises(HttpOperationError) as refused:
            self.call(name, **options)
        body = json.loads(refused.exception.response.text)
        self.assertEqual("", body["ExceptionMessage"])
        inner = json.loads(body["Message"])
        self.assertEqual(refused.exception.response.status_code, inner["errorCode"] // 1000)
        return inner["errorCode"], inner["info"]

    def answer(self, **options):
        self.assertEqual((404103, {"timeout": "00:00:00"}), self.refusal("echo"))
        client = IoTHubDeviceClient.create_from_connection_string(self.device["connectionString"], **options)
        self.addCleanup(client.shutdown)
        names = []

        def receive(request):
            names.append(request.name)
            if request.name != "silent":
                payload = request.payload if request.name != "nothing" else None
                client.send_method_response(MethodResponse.create_from_method_request(request, 207, payload))

        client.on_method_request_received = receive
        client.connect()
        # The subscription may still be under way: the call waits for it.
        first = self.call("echo", payload="first", connect_timeout_in_seconds=20, response_timeout_in_seconds=20)
        self.assertEqual((207, "first"), (first.status, first.payload))
        for payload in [{}, {"größe": ["<ü>", None, 21.5]}, [1, 2], "text", 7]:
            answer = self.call("thermostat1*reboot", payload=payload)
            self.assertEqual((207, payload), (answer.status, answer.payload))
        self.assertEqual("thermostat1*reboot", names[-1])
        self.assertIsNone(self.call("nothing").payload)
        self.assertEqual((504101, {}), self.refusal("silent", response_timeout_in_seconds=5))
        self.assertEqual(400004, self.refusal("echo", response_timeout_in_seconds=4)[0])

    def test_mqtt(self):
        self.answer()

    def test_websocket(self):
        self.answer(websockets=True)


if __name__ == "__main__":
    unittest.main()
