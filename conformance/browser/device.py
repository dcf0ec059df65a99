"""A device that takes its messages, answers its methods, and reports what it is told to be,
until its standard input ends. The argument is its connection string.
"""
import sys

from azure.iot.device import IoTHubDeviceClient, Message, MethodResponse

device = IoTHubDeviceClient.create_from_connection_string(sys.argv[1])
device.on_message_received = lambda message: print(f"message {message.data.decode()} {message.custom_properties}\n", end="", flush=True)
device.on_twin_desired_properties_patch_received = lambda patch: device.patch_twin_reported_properties(
    {name: value for name, value in patch.items() if not name.startswith("$")})
device.on_method_request_received = lambda call: device.send_method_response(
    MethodResponse.create_from_method_request(call, 207, {"did": call.name, "with": call.payload}))
device.connect()
device.send_message(Message('{"ready":true}', content_encoding="utf-8", content_type="application/json"))
print("ready", flush=True)
sys.stdin.read()
device.shutdown()
