"""A provisioned device that waits for one change of its desired properties, reports
it, and prints it. Settings come from the quickstart's environment variables.
"""
import asyncio
import json
import os
import queue

from azure.iot.device import X509
from azure.iot.device.aio import IoTHubDeviceClient, ProvisioningDeviceClient

PATIENCE = 60  # seconds


async def main():
    x509 = X509(cert_file=os.environ["X509_CERT_FILE"], key_file=os.environ["X509_KEY_FILE"], pass_phrase=os.environ["PASS_PHRASE"])
    provisioning = ProvisioningDeviceClient.create_from_x509_certificate(
        provisioning_host=os.environ["PROVISIONING_HOST"],
        registration_id=os.environ["DPS_X509_REGISTRATION_ID"],
        id_scope=os.environ["PROVISIONING_IDSCOPE"],
        x509=x509,
    )
    state = (await provisioning.register()).registration_state
    device = IoTHubDeviceClient.create_from_x509_certificate(x509=x509, hostname=state.assigned_hub, device_id=state.device_id)
    patches = queue.Queue()  # the SDK calls handlers on a thread of its own
    device.on_twin_desired_properties_patch_received = patches.put
    await device.connect()
    await device.get_twin()  # from here on changes are told
    await device.patch_twin_reported_properties({"ready": True})
    patch = await asyncio.to_thread(patches.get, timeout=PATIENCE)
    await device.patch_twin_reported_properties({"interval": patch["interval"]})
    print(json.dumps(patch), flush=True)
    await device.shutdown()


asyncio.run(main())
