"""Shows the one line that the SDK logs when a registration is to be polled.

The quickstart's transcript has it; newer SDKs log it as a detail. It tells
from outside whether the service answered at once or asked the device to poll.
"""
import logging
import sys


def show():
    handler = logging.StreamHandler(sys.stdout)
    handler.addFilter(lambda record: "Op will transition into polling" in record.getMessage())
    logger = logging.getLogger("azure.iot.device.provisioning.pipeline")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
