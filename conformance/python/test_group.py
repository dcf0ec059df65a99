"""Enrollment groups with Azure's Python client: devices that an authority signed,
and individual enrollments that override their group."""
import os
import subprocess
import tempfile
import unittest

from azure.iot.device import X509
from azure.iot.device.aio import IoTHubDeviceClient, ProvisioningDeviceClient
from azure.iot.device.exceptions import ClientError

import service

GROUP = "/enrollmentGroups/python-group"


class Authority:
    """Certificates of a factory, made by openssl: a root, one between, and devices."""

    def __init__(self, folder):
        self.folder = folder
        with open(os.path.join(folder, "ca.ext"), "w") as file:
            file.write("basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n")
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", "/CN=Factory root",
                     "-addext", "keyUsage=critical,keyCertSign", "-keyout", "root.key", "-out", "root.pem")
        self.sign("between", "Factory line", "root", "-extfile", "ca.ext")

    def openssl(self, *args):
        subprocess.run(["openssl", *args], cwd=self.folder, check=True, capture_output=True)

    def sign(self, name, common_name, signer, *extensions):
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={common_name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{signer}.pem", "-CAkey", f"{signer}.key", "-CAcreateserial", "-days", "30", *extensions, "-out", f"{name}.pem")

    def text(self, *names):
        return "".join(open(os.path.join(self.folder, f"{name}.pem")).read() for name in names)

    def device(self, name, *chain):
        """The credentials of a device that sends its certificate and these others."""
        if not os.path.exists(os.path.join(self.folder, f"{name}.pem")):
            self.sign(name, name, "between")
        sent = os.path.join(self.folder, f"{name}-chain.pem")
        with open(sent, "w") as file:
            file.write(self.text(name, *chain))
        return X509(cert_file=sent, key_file=os.path.join(self.folder, f"{name}.key"))


class Group(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.factory = Authority(folder.name)

    def group(self, signer, **properties):
        service.provisioning.call("PUT", GROUP, {
            "enrollmentGroupId": "python-group",
            "attestation": {"type": "x509", "x509": {"signingCertificates": {"primary": {"certificate": self.factory.text(signer)}}}},
            **properties,
        })
        self.addCleanup(service.provisioning.call, "DELETE", GROUP)

    async def register(self, name, *chain):
        x509 = self.factory.device(name, *chain)
        client = ProvisioningDeviceClient.create_from_x509_certificate(
            provisioning_host=os.environ["PROVISIONING_HOST"], registration_id=name, id_scope=os.environ["PROVISIONING_IDSCOPE"], x509=x509)
        result = await client.register()
        if result.status == "assigned":
            self.addCleanup(service.provisioning.call, "DELETE", f"/registrations/{name}")
            self.addCleanup(service.hub.call, "DELETE", f"/devices/{name}")
        return x509, result

    def last_check(self, name):
        return service.provisioning.call("GET", "/berth/provisioning/attempts", registrationId=name, max=1)[0]["checks"][-1]

    async def test_whole_chain_under_the_root(self):
        self.group("root", initialTwin={"properties": {"desired": {"line": 7}}})
        x509, result = await self.register("python-group-1", "between")
        self.assertEqual("assigned", result.status)
        state = result.registration_state
        device = IoTHubDeviceClient.create_from_x509_certificate(x509=x509, hostname=state.assigned_hub, device_id=state.device_id)
        await device.connect()
        self.addAsyncCleanup(device.shutdown)
        self.assertEqual(7, (await device.get_twin())["desired"]["line"])
        await device.send_message("from a member")
        self.assertEqual("from a member", service.telemetry("python-group-1", 1)[0]["body"])

    async def test_leaf_alone_under_its_signer(self):
        self.group("between")
        _, result = await self.register("python-group-2")
        self.assertEqual("assigned", result.status)

    async def test_missing_certificate_between(self):
        self.group("root")
        with self.assertRaises(ClientError):
            await self.register("python-group-3")
        check = self.last_check("python-group-3")
        self.assertEqual(("enrollment", False), (check["name"], check["passed"]))
        self.assertIn("Factory line", check["saw"])
        self.assertIn("in between", check["advice"])

    async def test_registered_authority_between(self):
        self.group("root")
        service.provisioning.call("PUT", "/berth/provisioning/certificates/line", {"certificate": self.factory.text("between")})
        self.addCleanup(service.provisioning.call, "DELETE", "/berth/provisioning/certificates/line")
        _, result = await self.register("python-group-4")
        self.assertEqual("assigned", result.status)

    async def test_disabled_individual_enrollment_overrides(self):
        self.group("between")
        self.factory.device("python-group-5")
        service.enroll("python-group-5", os.path.join(self.factory.folder, "python-group-5.pem"), provisioningStatus="disabled")
        self.addCleanup(service.provisioning.call, "DELETE", "/enrollments/python-group-5")
        with self.assertRaises(ClientError):
            await self.register("python-group-5")
        self.assertEqual("provisioning status", self.last_check("python-group-5")["name"])

    async def test_disabled_group(self):
        self.group("between", provisioningStatus="disabled")
        with self.assertRaises(ClientError):
            await self.register("python-group-6")
        self.assertEqual("provisioning status", self.last_check("python-group-6")["name"])
