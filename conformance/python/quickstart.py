"""The device of the X.509 quickstart: it registers, then sends ten messages at once.

Settings come from the environment variables that the quickstart names; both
PASS_PHRASE (the article) and X509_PASS_PHRASE (Azure's sample) hold the pass
phrase. TRANSPORT is mqtt, the SDK's default, or mqtt-ws.
"""
import asyncio
import os
import uuid

from azure.iot.device import Message, X509
from azure.iot.device.aio import IoTHubDeviceClient, ProvisioningDeviceClient

import polling_log

MESSAGES = 10


async def main():
    polling_log.show()
    websockets = os.getenv("TRANSPORT", "mqtt") == "mqtt-ws"
    x509 = X509(
        cert_file=os.environ["X509_CERT_FILE"],
        key_file=os.environ["X509_KEY_FILE"],
        pass_phrase=os.getenv("X509_PASS_PHRASE") or os.getenv("PASS_PHRASE"),
    )

    provisioning = ProvisioningDeviceClient.create_from_x509_certificate(
        provisioning_host=os.environ["PROVISIONING_HOST"],
        registration_id=os.environ["DPS_X509_REGISTRATION_ID"],
        id_scope=os.environ["PROVISIONING_IDSCOPE"],
        x509=x509,
        websockets=websockets,
    )
    result = await provisioning.register()
    print("The complete registration result is")
    print(result.registration_state)
    if result.status != "assigned":
        raise SystemExit("Can not send telemetry from the provisioned device: " + result.status)

    print("Will send telemetry from the provisioned device")
    device = IoTHubDeviceClient.create_from_x509_certificate(
        x509=x509,
        hostname=result.registration_state.assigned_hub,
        device_id=result.registration_state.device_id,
        websockets=websockets,
    )
    await device.connect()

    async def send(i):
        print(f"sending message #{i}")
        message = Message(f"test wind speed {i}")
        message.message_id = uuid.uuid4()
        await device.send_message(message)
        print(f"done sending message #{i}")

    await asyncio.gather(*(send(i) for i in range(1, MESSAGES + 1)))
    await device.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
