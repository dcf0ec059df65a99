"""A device that puts HTML wherever a device can put text: into its messages,
their properties, and its twin. The argument is its connection string.
"""
import sys

from azure.iot.device import IoTHubDeviceClient, Message

MARKUP = "<img src=x onerror=alert(1)>"

device = IoTHubDeviceClient.create_from_connection_string(sys.argv[1])
device.connect()
device.patch_twin_reported_properties({"said": MARKUP, "<b>name</b>": 1})
message = Message(MARKUP + "</pre><script>alert(2)</script>", content_encoding="utf-8", content_type="text/html")
message.custom_properties["<b>property</b>"] = MARKUP
device.send_message(message)
device.shutdown()
