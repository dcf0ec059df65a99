"""The back end of the device tests: signed calls of the two services' REST APIs.

They need no package; Azure's own clients are tested in test_service_client.py and ../node.
"""
import base64
import hashlib
import hmac
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request

API_VERSION = "2021-04-12"


class Service:
    """One service, named by a connection string with a shared access policy."""

    def __init__(self, connection_string):
        parts = dict(part.split("=", 1) for part in connection_string.split(";"))
        self.host = parts["HostName"]
        self.policy = parts["SharedAccessKeyName"]
        self.key = parts["SharedAccessKey"]

    def call(self, method, path, body=None, update=False, **query):
        """Returns the decoded answer, None when it is empty. A refusal is raised with what it says.

        A PUT creates, unless it is to update what is there."""
        query = urllib.parse.urlencode({"api-version": API_VERSION, **query})
        request = urllib.request.Request(
            f"https://{self.host}{path}?{query}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": self.token(), "Content-Type": "application/json; charset=utf-8"},
        )
        if update or method in ("PATCH", "DELETE"):
            request.add_header("If-Match", "*")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                text = answer.read().decode()
        except urllib.error.HTTPError as refusal:
            raise RuntimeError(f"{method} {path}: {refusal.code} {refusal.read().decode()}") from None
        if "/berth/hub/telemetry" in path:
            return [json.loads(line) for line in text.splitlines()]
        return json.loads(text) if text else None

    def token(self):
        expiry = int(time.time()) + 600
        resource = urllib.parse.quote(self.host, safe="")
        digest = hmac.digest(base64.b64decode(self.key), f"{resource}\n{expiry}".encode(), hashlib.sha256)
        signature = urllib.parse.quote(base64.b64encode(digest), safe="")
        return f"SharedAccessSignature sr={resource}&sig={signature}&se={expiry}&skn={self.policy}"


provisioning = Service(os.environ["PROVISIONING_CONNECTION_STRING"])
hub = Service(os.environ["IOTHUB_CONNECTION_STRING"])


def enroll(registration_id, certificate_file, **properties):
    """Creates an individual enrollment with an X.509 certificate."""
    with open(certificate_file) as file:
        certificate = file.read()
    return provisioning.call("PUT", f"/enrollments/{registration_id}", {
        "registrationId": registration_id,
        "attestation": {"type": "x509", "x509": {"clientCertificates": {"primary": {"certificate": certificate}}}},
        **properties,
    })


def derived_key(group_key, registration_id):
    """The key of a device in a group with symmetric keys."""
    return base64.b64encode(hmac.digest(base64.b64decode(group_key), registration_id.encode(), hashlib.sha256)).decode()


def create_device(device_id):
    """Creates a device identity with symmetric keys that the hub makes; returns it with its connection string."""
    device = hub.call("PUT", f"/devices/{device_id}", {"deviceId": device_id})
    key = device["authentication"]["symmetricKey"]["primaryKey"]
    device["connectionString"] = f"HostName={hub.host};DeviceId={device_id};SharedAccessKey={key}"
    return device


def telemetry(device_id, count):
    """Waits for so many messages of the device from the hub's telemetry log and returns them."""
    return hub.call("GET", "/berth/hub/telemetry", **{"from": "earliest", "device": device_id, "max": count})
