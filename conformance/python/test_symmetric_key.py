"""A device that the hub itself made, with symmetric keys: what it sends arrives as it was sent."""
import unittest

from azure.iot.device import Message
from azure.iot.device.aio import IoTHubDeviceClient
from azure.iot.device.exceptions import CredentialError

import service


class SymmetricKey(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.device = service.create_device("python-key")
        self.addCleanup(service.hub.call, "DELETE", "/devices/python-key")

    async def test_message_with_properties(self):
        for websockets in (False, True):
            with self.subTest(websockets=websockets):
                await self.send(websockets)
        message = service.telemetry("python-key", 2)[1]
        self.assertEqual({"temperature": 21.5}, message["body"])
        self.assertEqual({"niveau d'eau": "élevé & stable", "empty": ""}, message["properties"])
        system = message["systemProperties"]
        self.assertEqual("m-1", system["message-id"])
        self.assertEqual("c-1", system["correlation-id"])
        self.assertEqual("application/json", system["content-type"])
        self.assertEqual("utf-8", system["content-encoding"])
        self.assertEqual("python-key", system["iothub-connection-device-id"])
        self.assertIn("sas", str(system["iothub-connection-auth-method"]).lower())

    async def send(self, websockets):
        client = IoTHubDeviceClient.create_from_connection_string(
            self.device["connectionString"], websockets=websockets)
        message = Message('{"temperature": 21.5}', "m-1", "utf-8", "application/json")
        message.correlation_id = "c-1"
        message.custom_properties["niveau d'eau"] = "élevé & stable"
        message.custom_properties["empty"] = ""
        await client.send_message(message)
        self.assertEqual("Connected", service.hub.call("GET", "/devices/python-key")["connectionState"])
        await client.shutdown()

    async def test_secondary_key(self):
        keys = self.device["authentication"]["symmetricKey"]
        self.device["connectionString"] = self.device["connectionString"].replace(keys["primaryKey"], keys["secondaryKey"])
        await self.send(websockets=False)

    async def test_refused(self):
        wrong = self.device["connectionString"].split(";SharedAccessKey=")[0] + ";SharedAccessKey=d3Jvbmcga2V5"
        await self.assert_refused(wrong)
        unknown = self.device["connectionString"].replace("DeviceId=python-key", "DeviceId=python-nobody")
        await self.assert_refused(unknown)
        service.hub.call("PUT", "/devices/python-key", {**self.device, "status": "disabled"}, update=True)
        await self.assert_refused(self.device["connectionString"])

    async def assert_refused(self, connection_string):
        client = IoTHubDeviceClient.create_from_connection_string(connection_string, connection_retry=False)
        self.addAsyncCleanup(client.shutdown)
        with self.assertRaises(CredentialError):
            await client.connect()


if __name__ == "__main__":
    unittest.main()
