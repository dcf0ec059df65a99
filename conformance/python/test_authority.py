"""Devices of a hub by X.509 authority, with Azure's Python client: no enrollment knows them."""
import json
import tempfile
import unittest

from azure.iot.device import Message
from azure.iot.device.aio import IoTHubDeviceClient
from azure.iot.device.exceptions import CredentialError

import service
from test_group import Authority

AUTHORITY = "/berth/hub/certificates/python-factory"
DEVICE = "python-by-authority"


class ByAuthority(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.factory = Authority(folder.name)
        service.hub.call("PUT", f"/devices/{DEVICE}", {
            "deviceId": DEVICE, "authentication": {"type": "certificateAuthority"}})
        self.addCleanup(service.hub.call, "DELETE", f"/devices/{DEVICE}")
        service.hub.call("PUT", AUTHORITY, {"certificate": self.factory.text("root")})

    def client(self, *chain):
        return IoTHubDeviceClient.create_from_x509_certificate(
            x509=self.factory.device(DEVICE, *chain), hostname=service.hub.host, device_id=DEVICE,
            connection_retry=False)

    async def refused(self, *chain):
        client = self.client(*chain)
        self.addAsyncCleanup(client.shutdown)
        with self.assertRaises(CredentialError):
            await client.connect()

    async def test_proof_of_possession(self):
        self.addCleanup(service.hub.call, "DELETE", AUTHORITY)
        await self.refused("between")  # nobody has proved to hold the authority's key
        code = service.hub.call("POST", AUTHORITY + "/generateVerificationCode")["verificationCode"]
        self.factory.sign("proof", code, "root")
        self.assertTrue(service.hub.call("POST", AUTHORITY + "/verify",
                                         {"certificate": self.factory.text("proof")})["isVerified"])
        client = self.client("between")
        self.addAsyncCleanup(client.shutdown)
        await client.connect()
        await client.send_message(Message("by authority"))
        [received] = service.telemetry(DEVICE, 1)
        self.assertEqual("x509CertificateAuthority", json.loads(
            received["systemProperties"]["iothub-connection-auth-method"])["type"])
        await self.refused()  # what is between is neither sent nor uploaded


if __name__ == "__main__":
    unittest.main()
