"""Cloud-to-device messages through Azure's Python clients, over MQTT and MQTT over WebSocket."""
import queue
import time
import unittest

from azure.iot.device import IoTHubDeviceClient

import service

PATIENCE = 20  # seconds


class Messages(unittest.TestCase):
    def receive(self, **options):
        device = service.create_device("python-messages")
        self.addCleanup(service.hub.call, "DELETE", "/devices/python-messages")
        send = {"messageId": "m 1", "correlationId": "c/1", "contentType": "application/json", "ack": "full",
                "properties": {"level": "high & dry", "größe": "ü"}, "payload": '{"open":"valve"}'}
        path = "/berth/hub/devices/python-messages/messages"
        service.hub.call("POST", path, send)  # before the device is there

        client = IoTHubDeviceClient.create_from_connection_string(device["connectionString"], **options)
        self.addCleanup(client.shutdown)
        messages = queue.Queue()
        client.on_message_received = messages.put
        client.connect()
        first = messages.get(timeout=PATIENCE)
        self.assertEqual(b'{"open":"valve"}', first.data)
        self.assertEqual(("m 1", "c/1", "application/json", "full"),
                         (first.message_id, first.correlation_id, first.content_type, first.ack))
        self.assertEqual(send["properties"], first.custom_properties)
        for i in range(20):
            service.hub.call("POST", path, {"payload": str(i)})
        self.assertEqual([str(i).encode() for i in range(20)],
                         [messages.get(timeout=PATIENCE).data for _ in range(20)])

        feedback = self.feedback()
        self.assertEqual(("m 1", "Success", "python-messages"),
                         (feedback["originalMessageId"], feedback["statusCode"], feedback["deviceId"]))

    def feedback(self):
        for _ in range(200):  # the device's acknowledgement may still be on its way
            records = service.hub.call("GET", "/messages/serviceBound/feedback")
            if records:
                return records[0]
            time.sleep(0.1)
        self.fail("no feedback came")

    def test_mqtt(self):
        self.receive()

    def test_websocket(self):
        self.receive(websockets=True)


if __name__ == "__main__":
    unittest.main()
