"""Every operation of Azure's Python service client, which `az iot dps` is made with too."""
import os
import unittest

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.iot.device import ProvisioningDeviceClient
from azure.iot.deviceprovisioning import DeviceProvisioningClient, generate_sas_token
from azure.core.credentials import AzureSasCredential

import service

EVERYTHING = {"query": "SELECT * FROM enrollments"}
EVERY_GROUP = {"query": "SELECT * FROM enrollmentGroups"}
KEYS = {"type": "symmetricKey", "symmetricKey": {}}


class ServiceClient(unittest.TestCase):
    def setUp(self):
        self.client = DeviceProvisioningClient.from_connection_string(
            os.environ["PROVISIONING_CONNECTION_STRING"], connection_verify=os.environ["SSL_CERT_FILE"])

    def assertRefused(self, status, code, operation, *args, **kwargs):
        with self.assertRaises(HttpResponseError) as refusal:
            operation(*args, **kwargs)
        self.assertEqual(status, refusal.exception.status_code)
        self.assertEqual(code, refusal.exception.response.json()["errorCode"])

    def operations(self, of, items, name, query):
        """What the client does alike with enrollments and groups."""
        first = {name: f"python-{name}-0", "attestation": KEYS, "initialTwin": {"tags": {"site": "harbour"}}}
        made = of.create_or_update(first[name], first)
        self.assertEqual(("enabled", "harbour"), (made["provisioningStatus"], made["initialTwin"]["tags"]["site"]))
        self.assertEqual(made["etag"], of.get(first[name])["etag"])
        changed = of.create_or_update(first[name], {**made, "provisioningStatus": "disabled"}, if_match=made["etag"])
        self.assertEqual("disabled", changed["provisioningStatus"])
        self.assertRefused(412, 412001, of.create_or_update, first[name], made, if_match=made["etag"])
        self.assertRefused(412, 412001, of.delete, first[name], if_match=made["etag"])
        self.assertRefused(409, 409202, of.create_or_update, first[name], first)
        self.assertEqual(made["attestation"], of.get_attestation_mechanism(first[name]))

        more = [{name: f"python-{name}-{i}", "attestation": KEYS} for i in range(1, 6)]
        self.assertTrue(of.run_bulk_operation({"mode": "create", items: more})["isSuccessful"])
        again = of.run_bulk_operation({"mode": "create", items: more})
        self.assertFalse(again["isSuccessful"])
        self.assertEqual([item[name] for item in more], [error[name] for error in again["errors"]])
        found = [item[name] for item in of.query(query, top=4)]
        self.assertEqual([f"python-{name}-{i}" for i in range(6)], [id for id in found if id.startswith("python-")])
        self.assertEqual(2, len([None for _ in of.query(query, top=4).by_page()]))
        self.assertTrue(of.run_bulk_operation({"mode": "delete", items: more})["isSuccessful"])

        of.delete(first[name], if_match=changed["etag"])
        with self.assertRaises(ResourceNotFoundError):
            of.get(first[name])

    def test_enrollments(self):
        self.operations(self.client.enrollment, "enrollments", "registrationId", EVERYTHING)

    def test_groups(self):
        self.operations(self.client.enrollment_group, "enrollmentGroups", "enrollmentGroupId", EVERY_GROUP)

    def test_registration_states(self):
        group = self.client.enrollment_group.create_or_update("python-states", {"enrollmentGroupId": "python-states", "attestation": KEYS})
        self.addCleanup(self.client.enrollment_group.delete, "python-states")
        ids = [f"python-state-{i}" for i in range(3)]
        for id in ids:
            device = ProvisioningDeviceClient.create_from_symmetric_key(
                os.environ["PROVISIONING_HOST"], id, os.environ["PROVISIONING_IDSCOPE"],
                service.derived_key(group["attestation"]["symmetricKey"]["primaryKey"], id))
            self.assertEqual("assigned", device.register().status)
            self.addCleanup(service.hub.call, "DELETE", f"/devices/{id}")
        states = self.client.device_registration_state
        self.assertEqual(ids, [state["registrationId"] for state in states.query("python-states", top=2)])
        self.assertEqual(service.hub.host, states.get(ids[0])["assignedHub"])
        for id in ids:
            states.delete(id)
        with self.assertRaises(ResourceNotFoundError):
            states.get(ids[0])

    def test_token(self):
        endpoint, policy, key = service.provisioning.host, service.provisioning.policy, service.provisioning.key
        for expiry, status in ((600, None), (-600, 401)):
            client = DeviceProvisioningClient(
                endpoint, AzureSasCredential(generate_sas_token(endpoint, policy, key, expiry)), connection_verify=os.environ["SSL_CERT_FILE"])
            if status is None:
                list(client.enrollment.query(EVERYTHING))
            else:
                self.assertRefused(status, 401003, client.enrollment.get, "python-x")


if __name__ == "__main__":
    unittest.main()
