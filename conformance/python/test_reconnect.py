"""A device whose connection is taken over comes back by itself, with its subscriptions."""
import asyncio
import queue
import unittest

from azure.iot.device.aio import IoTHubDeviceClient

import service

PATIENCE = 30  # seconds; the SDK waits up to 10 before it connects again


async def next_of(events):
    return await asyncio.to_thread(events.get, timeout=PATIENCE)


class Reconnect(unittest.IsolatedAsyncioTestCase):
    async def test_taken_over(self):
        device = service.create_device("python-reconnect")
        self.addCleanup(service.hub.call, "DELETE", "/devices/python-reconnect")
        client = IoTHubDeviceClient.create_from_connection_string(device["connectionString"])
        self.addAsyncCleanup(client.shutdown)
        states, patches = queue.Queue(), queue.Queue()  # the SDK calls handlers on a thread of its own
        client.on_connection_state_change = lambda: states.put(client.connected)
        await client.connect()
        client.on_twin_desired_properties_patch_received = patches.put
        self.assertTrue(await next_of(states))

        second = IoTHubDeviceClient.create_from_connection_string(
            device["connectionString"], connection_retry=False, auto_connect=False)
        self.addAsyncCleanup(second.shutdown)
        await second.connect()
        self.assertFalse(await next_of(states), "the first connection ends")
        self.assertTrue(await next_of(states), "and comes back")

        await client.send_message("back again")
        self.assertEqual("back again", service.telemetry("python-reconnect", 1)[0]["body"])
        service.hub.call("PATCH", "/twins/python-reconnect", {"properties": {"desired": {"interval": 5}}})
        # The SDK gets the twin by itself after it has come back, and hands that on as a patch, too.
        while (patch := await next_of(patches))["$version"] == 1:
            pass
        self.assertEqual({"interval": 5, "$version": 2}, patch)


if __name__ == "__main__":
    unittest.main()
