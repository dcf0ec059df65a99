"""An individual enrollment with a symmetric key, on Azure's Python clients: the same
key opens the hub."""
import os
import unittest

from azure.iot.device.aio import IoTHubDeviceClient, ProvisioningDeviceClient
from azure.iot.device.exceptions import ClientError

import service

ID = "Python-own-key"


class OwnKey(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        enrollment = service.provisioning.call("PUT", f"/enrollments/{ID}", {"registrationId": ID, "attestation": {"type": "symmetricKey"}})
        self.keys = enrollment["attestation"]["symmetricKey"]
        self.addCleanup(service.provisioning.call, "DELETE", f"/enrollments/{ID}")

    def client(self, key, **options):
        return ProvisioningDeviceClient.create_from_symmetric_key(
            provisioning_host=os.environ["PROVISIONING_HOST"], registration_id=ID, id_scope=os.environ["PROVISIONING_IDSCOPE"], symmetric_key=key, **options)

    async def test_both_keys_and_both_transports(self):
        for key, websockets in ((self.keys["primaryKey"], False), (self.keys["secondaryKey"], True)):
            with self.subTest(websockets=websockets):
                result = await self.client(key, websockets=websockets).register()
                self.assertEqual("assigned", result.status)
                device = IoTHubDeviceClient.create_from_symmetric_key(
                    symmetric_key=key, hostname=result.registration_state.assigned_hub, device_id=result.registration_state.device_id, websockets=websockets)
                await device.connect()
                await device.send_message("with its own key")
                await device.shutdown()
        self.assertEqual(2, len(service.telemetry(ID, 2)))
        service.provisioning.call("DELETE", f"/registrations/{ID}")
        service.hub.call("DELETE", f"/devices/{ID}")

    async def test_key_of_another(self):
        with self.assertRaises(ClientError):
            await self.client("c29tZSBvdGhlciBrZXksIDE2IGJ5dGVz").register()
        check = service.provisioning.call("GET", "/berth/provisioning/attempts", registrationId=ID, max=1)[0]["checks"][-1]
        self.assertEqual("token signature", check["name"])
