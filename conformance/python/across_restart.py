"""A device that stays while the server is stopped and started: it says when it is connected and when not.

After it has come back it sends one message.
"""
import asyncio
import queue

from azure.iot.device.aio import IoTHubDeviceClient

import service


async def main():
    identity = service.create_device("python-stays")
    device = IoTHubDeviceClient.create_from_connection_string(identity["connectionString"], connection_retry_interval=1)
    changes = queue.Queue()  # the SDK calls handlers on a thread of its own
    device.on_connection_state_change = lambda: changes.put("connected" if device.connected else "disconnected")
    await device.connect()
    for _ in range(3):  # connected; disconnected, when the server stops; connected, when it is there again
        print(await asyncio.to_thread(changes.get), flush=True)
    await device.send_message("still here")
    await device.shutdown()
    service.hub.call("DELETE", "/devices/python-stays")
    print("sent", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
