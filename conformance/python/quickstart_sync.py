"""The device of the X.509 quickstart with the SDK's synchronous clients, ten threads sending.

The environment is that of quickstart.py.
"""
import os
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

from azure.iot.device import IoTHubDeviceClient, Message, ProvisioningDeviceClient, X509

import polling_log

MESSAGES = 10


def main():
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
    result = provisioning.register()
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
    device.connect()
    printing = threading.Lock()

    def say(line):
        with printing:
            print(line)

    def send(i):
        say(f"sending message #{i}")
        message = Message(f"test wind speed {i}")
        message.message_id = uuid.uuid4()
        device.send_message(message)
        say(f"done sending message #{i}")

    with ThreadPoolExecutor(MESSAGES) as threads:
        list(threads.map(send, range(1, MESSAGES + 1)))
    device.shutdown()


if __name__ == "__main__":
    main()
