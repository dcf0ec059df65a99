"""How a refused registration shows in Azure's Python client: the status is all that it tells.

The asynchronous client wraps the ServiceError of the refusal in a ClientError.
The explanation stays in the client's debug log; the operator reads it with
`berth attempts`, which the caller of these tests looks at.
"""
import os
import unittest

from azure.iot.device import X509
from azure.iot.device.aio import ProvisioningDeviceClient
from azure.iot.device.exceptions import ClientError, ServiceError

import service

ID_SCOPE = os.environ["PROVISIONING_IDSCOPE"]


def certificate(name):
    return X509(*(os.path.join(os.environ["CERTIFICATES"], name + suffix) for suffix in (".pem", ".key.pem")))


class Refusals(unittest.IsolatedAsyncioTestCase):
    async def test_unknown_id_scope(self):
        await self.refused("python-scope", certificate("python-scope"), id_scope="0neFFFFFFFF")

    async def test_unknown_registration_id(self):
        await self.refused("python-unknown", certificate("python-unknown"))

    async def test_wrong_certificate(self):
        self.enroll("python-wrong")
        await self.refused("python-wrong", certificate("python-wrong-other"))

    async def test_other_common_name(self):
        self.enroll("python-name")
        await self.refused("python-name", certificate("python-scope"))

    async def test_expired_certificate(self):
        self.enroll("python-expired")
        await self.refused("python-expired", certificate("python-expired"))

    async def test_certificate_not_yet_valid(self):
        self.enroll("python-early")
        await self.refused("python-early", certificate("python-early"))

    async def test_disabled_enrollment(self):
        self.enroll("python-disabled", provisioningStatus="disabled")
        await self.refused("python-disabled", certificate("python-disabled"))

    def enroll(self, registration_id, **properties):
        service.enroll(registration_id, certificate(registration_id).certificate_file, **properties)
        self.addCleanup(service.provisioning.call, "DELETE", f"/enrollments/{registration_id}")

    async def refused(self, registration_id, x509, id_scope=ID_SCOPE):
        client = ProvisioningDeviceClient.create_from_x509_certificate(
            os.environ["PROVISIONING_HOST"], registration_id, id_scope, x509)
        with self.assertRaises(ClientError) as raised:
            await client.register()
        refusal = raised.exception.__cause__
        self.assertIsInstance(refusal, ServiceError)
        self.assertEqual("register request returned a service error status code 401", str(refusal))


if __name__ == "__main__":
    unittest.main()
