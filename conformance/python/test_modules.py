"""Modules through Azure's Python clients: identities and twins by azure-iot-hub, a module by azure-iot-device."""
import base64
import os
import queue
import time
import unittest

from azure.iot.device import IoTHubModuleClient, Message, MethodResponse
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties
from msrest.exceptions import HttpOperationError

import service

DEVICE = "python-modules"
PATIENCE = 20  # seconds
KEY, OTHER = (base64.b64encode(bytes([n] * 32)).decode() for n in (1, 2))


class Modules(unittest.TestCase):
    def setUp(self):
        self.manager = IoTHubRegistryManager.from_connection_string(os.environ["IOTHUB_CONNECTION_STRING"])
        service.create_device(DEVICE)
        self.addCleanup(service.hub.call, "DELETE", f"/devices/{DEVICE}")

    def refused(self, status, call, *arguments):
        with self.assertRaises(HttpOperationError) as refused:
            call(*arguments)
        self.assertEqual(status, refused.exception.response.status_code, refused.exception.response.text)

    def test_identity(self):
        created = self.manager.create_module_with_sas(DEVICE, "m", "somebody", KEY, OTHER)
        self.assertEqual((DEVICE, "m", "somebody", "Disconnected", KEY),
                         (created.device_id, created.module_id, created.managed_by, created.connection_state,
                          created.authentication.symmetric_key.primary_key))
        self.refused(409, self.manager.create_module_with_sas, DEVICE, "m", "", KEY, OTHER)
        self.manager.create_module_with_x509(DEVICE, "x", "", "A9" * 20, "")
        self.assertEqual(["m", "x"], [module.module_id for module in self.manager.get_modules(DEVICE)])
        self.assertEqual("selfSigned", self.manager.get_module(DEVICE, "x").authentication.type)
        updated = self.manager.update_module_with_sas(DEVICE, "m", "", created.etag, OTHER, KEY)
        self.assertEqual((None, OTHER), (updated.managed_by, updated.authentication.symmetric_key.primary_key))
        self.refused(412, self.manager.update_module_with_sas, DEVICE, "m", "", created.etag, KEY, OTHER)
        self.refused(412, self.manager.delete_module, DEVICE, "m", created.etag)
        self.manager.delete_module(DEVICE, "m")
        self.refused(404, self.manager.get_module, DEVICE, "m")

    def test_twin(self):
        self.manager.create_module_with_sas(DEVICE, "m", "", KEY, OTHER)
        twin = self.manager.get_module_twin(DEVICE, "m")
        self.assertEqual(("m", "sas"), (twin.module_id, twin.authentication_type))
        patch = Twin(tags={"site": "quay"}, properties=TwinProperties(desired={"interval": 5}))
        patched = self.manager.update_module_twin(DEVICE, "m", patch, twin.etag)
        self.assertEqual(({"site": "quay"}, 5), (patched.tags, patched.properties.desired["interval"]))
        replaced = self.manager.replace_module_twin(DEVICE, "m", Twin(properties=TwinProperties(desired={"mode": "slow"})))
        self.assertEqual({"mode": "slow"}, {k: v for k, v in replaced.properties.desired.items() if k[0] != "$"})

    def connect(self, **options):
        self.manager.create_module_with_sas(DEVICE, "m", "", KEY, OTHER)
        client = IoTHubModuleClient.create_from_connection_string(
            f"HostName={service.hub.host};DeviceId={DEVICE};ModuleId=m;SharedAccessKey={KEY}", **options)
        self.addCleanup(client.shutdown)
        return client

    def module(self, **options):
        client = self.connect(**options)
        patches, inputs = queue.Queue(), queue.Queue()
        client.on_twin_desired_properties_patch_received = patches.put
        client.on_message_received = inputs.put  # which only an IoT Edge hub routes
        client.connect()
        self.assertEqual("Connected", self.manager.get_module(DEVICE, "m").connection_state)
        message = Message("21.5")
        message.custom_properties["level"] = "high & dry"
        client.send_message_to_output(message, "temperature")
        client.send_message("plain")
        sent = service.telemetry(DEVICE, 2)[-2:]
        self.assertEqual(["temperature", None], [m["systemProperties"].get("iothub-outputname") for m in sent])
        self.assertEqual({("m", "m", DEVICE)},
                         {(m["moduleId"], m["systemProperties"]["iothub-connection-module-id"], m["deviceId"])
                          for m in sent})
        self.assertEqual({"level": "high & dry"}, sent[0]["properties"])

        self.assertEqual(1, client.get_twin()["desired"]["$version"])
        client.patch_twin_reported_properties({"mode": "slow"})
        self.assertEqual("slow", self.manager.get_module_twin(DEVICE, "m").properties.reported["mode"])
        self.manager.update_module_twin(DEVICE, "m", Twin(properties=TwinProperties(desired={"interval": 5})))
        self.assertEqual({"interval": 5, "$version": 2}, patches.get(timeout=PATIENCE))

    def test_module_mqtt(self):
        self.module()

    def test_module_websocket(self):
        self.module(websockets=True)

    def test_method(self):
        client = self.connect()

        def answer(request):
            client.send_method_response(MethodResponse.create_from_method_request(request, 200, {"of": request.name}))

        client.on_method_request_received = answer
        client.connect()
        answered = self.manager.invoke_device_module_method(
            DEVICE, "m", CloudToDeviceMethod(method_name="open", payload={}, connect_timeout_in_seconds=PATIENCE))
        self.assertEqual((200, {"of": "open"}), (answered.status, answered.payload))

    def test_disabled_device(self):
        client = self.connect(connection_retry=False, auto_connect=False)
        client.connect()
        service.hub.call("PUT", f"/devices/{DEVICE}", {"deviceId": DEVICE, "status": "disabled"}, update=True)
        for _ in range(10 * PATIENCE):
            if not client.connected:
                return
            time.sleep(0.1)
        self.fail("the module of a disabled device stays connected")


if __name__ == "__main__":
    unittest.main()
