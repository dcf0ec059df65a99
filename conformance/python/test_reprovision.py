"""Re-provisioning with Azure's Python client: what becomes of a device that registers
again, by the policy of its enrollment, on one hub and when it is to have another."""
import os
import unittest

from azure.iot.device.aio import IoTHubDeviceClient, ProvisioningDeviceClient

import service

HUBS = "/berth/provisioning/hubs"
POLICIES = {
    "migrate": {"updateHubAssignment": True, "migrateDeviceData": True},
    "reset": {"updateHubAssignment": True, "migrateDeviceData": False},
    "never": {"updateHubAssignment": False, "migrateDeviceData": False},
}


class Reprovision(unittest.IsolatedAsyncioTestCase):
    def enroll(self, policy, *hubs, update=False):
        """Enrolls a device of the policy's own, or changes its enrollment."""
        self.id = f"python-{policy}"
        path = f"/enrollments/{self.id}"
        enrollment = service.provisioning.call("PUT", path, {
            "registrationId": self.id,
            "attestation": {"type": "symmetricKey", "symmetricKey": {}},
            "reprovisionPolicy": POLICIES[policy],
            "initialTwin": {"properties": {"desired": {"interval": 10}}},
            "iotHubs": hubs,
        }, update=update)
        self.assertEqual(POLICIES[policy], enrollment["reprovisionPolicy"])
        self.key = enrollment["attestation"]["symmetricKey"]["primaryKey"]

    def forget(self):
        service.provisioning.call("DELETE", f"/registrations/{self.id}")
        service.provisioning.call("DELETE", f"/enrollments/{self.id}")

    async def register(self):
        """Registers as a device does that was switched on, and returns its state."""
        client = ProvisioningDeviceClient.create_from_symmetric_key(
            provisioning_host=os.environ["PROVISIONING_HOST"], registration_id=self.id,
            id_scope=os.environ["PROVISIONING_IDSCOPE"], symmetric_key=self.key)
        result = await client.register()
        self.assertEqual("assigned", result.status)
        return result.registration_state

    async def desired(self, state, **reported):
        """The desired properties that the device finds in its hub."""
        device = IoTHubDeviceClient.create_from_symmetric_key(
            symmetric_key=self.key, hostname=state.assigned_hub, device_id=state.device_id)
        await device.connect()
        try:
            if reported:
                await device.patch_twin_reported_properties(reported)
            twin = await device.get_twin()
        finally:
            await device.shutdown()
        twin["desired"].pop("$version")
        return twin["desired"]

    async def test_one_hub(self):
        for policy in POLICIES:
            with self.subTest(policy=policy):
                self.enroll(policy)
                first = await self.register()
                self.assertEqual({"interval": 10}, await self.desired(first))
                service.hub.call("PATCH", f"/twins/{self.id}", {"properties": {"desired": {"interval": 60}}})
                again = await self.register()
                self.assertEqual(service.hub.host, again.assigned_hub)
                self.assertEqual((first.assigned_hub, first.device_id), (again.assigned_hub, again.device_id))
                self.assertEqual("initialAssignment", first.sub_status)
                self.assertEqual("initialAssignment", again.sub_status, "nothing moved")
                self.assertEqual(first.created_date_time, again.created_date_time)
                self.assertEqual({"interval": 60}, await self.desired(again), "a device that stays keeps its twin")
                service.hub.call("DELETE", f"/devices/{self.id}")
                self.forget()

    async def test_another_hub(self):
        other = service.provisioning.call("POST", HUBS, {"hub": "python-other"})["name"]
        self.addCleanup(service.provisioning.call, "DELETE", f"{HUBS}/{other}", force="true")
        for policy, hub, substatus, desired in (
            ("migrate", other, "deviceDataMigrated", {"interval": 60}),
            ("reset", other, "deviceDataReset", {"interval": 10}),
            ("never", service.hub.host, "initialAssignment", {"interval": 60}),
        ):
            with self.subTest(policy=policy):
                self.enroll(policy, service.hub.host)
                first = await self.register()
                self.assertEqual(service.hub.host, first.assigned_hub)
                await self.desired(first, firmware="1.2")
                service.hub.call("PATCH", f"/twins/{self.id}", {"properties": {"desired": {"interval": 60}}})

                self.enroll(policy, other, update=True)
                moved = await self.register()
                self.assertEqual((hub, substatus), (moved.assigned_hub, moved.sub_status))
                self.assertEqual(desired, await self.desired(moved))
                again = await self.register()
                self.assertEqual((hub, substatus), (again.assigned_hub, again.sub_status), "and is told the same again")

                if policy == "never":
                    service.hub.call("DELETE", f"/devices/{self.id}")
                else:
                    with self.assertRaisesRegex(RuntimeError, "404", msg="the former hub has let it go"):
                        service.hub.call("GET", f"/devices/{self.id}")
                self.forget()


if __name__ == "__main__":
    unittest.main()
