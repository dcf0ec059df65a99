"""Custom allocation with Azure's Python client: data goes from the device to the
operator's webhook, which chooses the hub, and back to the device."""
import http.server
import json
import os
import threading
import unittest

from azure.iot.device.aio import IoTHubDeviceClient, ProvisioningDeviceClient

import service

GROUP = "/enrollmentGroups/python-custom"
DEVICE = "python-custom-1"


class Webhook(http.server.BaseHTTPRequestHandler):
    """Sends every device to the first hub it is given, and greets it."""

    asked = []

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(request)
        device = request["deviceRuntimeContext"]
        answer = json.dumps({
            "iotHubHostName": request["linkedHubs"][0],
            "initialTwin": {"properties": {"desired": {"model": device["payload"]["model"]}}},
            "payload": {"hello": device["registrationId"]},
        }).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


class CustomAllocation(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        service.provisioning.call("PUT", GROUP, {
            "enrollmentGroupId": "python-custom",
            "attestation": {"type": "symmetricKey", "symmetricKey": {}},
            "allocationPolicy": "custom",
            "customAllocationDefinition": {"webhookUrl": f"http://127.0.0.1:{server.server_port}/allocate", "apiVersion": "2021-10-01"},
        })
        self.addCleanup(service.provisioning.call, "DELETE", GROUP)

    async def test_payload_there_and_back(self):
        keys = service.provisioning.call("POST", f"{GROUP}/attestationmechanism")["symmetricKey"]
        key = service.derived_key(keys["primaryKey"], DEVICE)
        client = ProvisioningDeviceClient.create_from_symmetric_key(
            provisioning_host=os.environ["PROVISIONING_HOST"],
            registration_id=DEVICE,
            id_scope=os.environ["PROVISIONING_IDSCOPE"],
            symmetric_key=key,
        )
        client.provisioning_payload = {"model": "m-7"}
        result = await client.register()
        self.addCleanup(service.provisioning.call, "DELETE", f"/registrations/{DEVICE}")
        self.addCleanup(service.hub.call, "DELETE", f"/devices/{DEVICE}")
        self.assertEqual("assigned", result.status)
        self.assertEqual({"hello": DEVICE}, json.loads(result.registration_state.response_payload))
        self.assertEqual("python-custom", Webhook.asked[0]["enrollmentGroup"]["enrollmentGroupId"])
        self.assertNotIn(keys["primaryKey"], json.dumps(Webhook.asked))

        state = result.registration_state
        device = IoTHubDeviceClient.create_from_symmetric_key(symmetric_key=key, hostname=state.assigned_hub, device_id=state.device_id)
        await device.connect()
        self.addAsyncCleanup(device.shutdown)
        self.assertEqual("m-7", (await device.get_twin())["desired"]["model"])
        records = service.provisioning.call("POST", "/registrations/python-custom/query", {})
        self.assertEqual([DEVICE], [record["registrationId"] for record in records])
