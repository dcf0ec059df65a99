"""Device twins through Azure's Python clients, asynchronous and synchronous."""
import asyncio
import queue
import unittest

from azure.iot.device import IoTHubDeviceClient
from azure.iot.device import aio
from azure.iot.device.exceptions import ClientError

import service

PATIENCE = 20  # seconds


class Twin(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.device = service.create_device("python-twin")
        self.addCleanup(service.hub.call, "DELETE", "/devices/python-twin")

    def connect(self, clients):
        return clients.create_from_connection_string(self.device["connectionString"])

    async def test_asynchronous(self):
        client = self.connect(aio.IoTHubDeviceClient)
        await client.connect()
        self.addAsyncCleanup(client.shutdown)

        twin = await client.get_twin()
        self.assertEqual({"desired": {"$version": 1}, "reported": {"$version": 1}}, twin)

        await client.patch_twin_reported_properties({"firmware": "1.2", "fan": {"speed": 3}, "old": True})
        await client.patch_twin_reported_properties({"fan": {"speed": 4}, "old": None})
        reported = (await client.get_twin())["reported"]
        self.assertEqual({"firmware": "1.2", "fan": {"speed": 4}, "$version": 3}, reported)
        seen = service.hub.call("GET", "/twins/python-twin")["properties"]["reported"]
        self.assertEqual({"speed": 4}, seen["fan"])

        patches = queue.Queue()  # the SDK calls handlers on a thread of its own
        client.on_twin_desired_properties_patch_received = patches.put
        service.hub.call("PATCH", "/twins/python-twin", {"properties": {"desired": {"interval": 5, "mode": "day"}}})
        patch = await asyncio.to_thread(patches.get, timeout=PATIENCE)
        self.assertEqual({"interval": 5, "mode": "day", "$version": 2}, patch)
        service.hub.call("PATCH", "/twins/python-twin", {"properties": {"desired": {"mode": None}}})
        patch = await asyncio.to_thread(patches.get, timeout=PATIENCE)
        self.assertEqual({"mode": None, "$version": 3}, patch)
        self.assertEqual({"interval": 5, "$version": 3}, (await client.get_twin())["desired"])

    async def test_over_its_limits(self):
        client = self.connect(aio.IoTHubDeviceClient)
        await client.connect()
        self.addAsyncCleanup(client.shutdown)
        with self.assertRaises(ClientError) as raised:
            await client.patch_twin_reported_properties({"text": "x" * 5000})  # a value has 4 KiB at most
        self.assertEqual("twin operation returned status 400", str(raised.exception.__cause__))
        self.assertEqual({"$version": 1}, (await client.get_twin())["reported"])


class SynchronousTwin(unittest.TestCase):
    def test_synchronous(self):
        device = service.create_device("python-twin-sync")
        self.addCleanup(service.hub.call, "DELETE", "/devices/python-twin-sync")
        client = IoTHubDeviceClient.create_from_connection_string(device["connectionString"], websockets=True)
        client.connect()
        self.addCleanup(client.shutdown)

        client.patch_twin_reported_properties({"firmware": "1.2"})
        self.assertEqual({"firmware": "1.2", "$version": 2}, client.get_twin()["reported"])
        patches = queue.Queue()
        client.on_twin_desired_properties_patch_received = patches.put
        service.hub.call("PATCH", "/twins/python-twin-sync", {"properties": {"desired": {"interval": 5}}})
        self.assertEqual({"interval": 5, "$version": 2}, patches.get(timeout=PATIENCE))


if __name__ == "__main__":
    unittest.main()
