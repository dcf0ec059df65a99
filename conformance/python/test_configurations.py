"""Automatic device management through Azure's Python client azure-iot-hub."""
import os
import time
import unittest

from azure.iot.hub import IoTHubConfigurationManager
from azure.iot.hub.models import (Configuration, ConfigurationContent, ConfigurationMetrics,
                                  ConfigurationQueriesTestInput)
from msrest.exceptions import HttpOperationError

import service

ID, DEVICE, EDGE = "python-configuration", "python-configured", "python-edge"


class Configurations(unittest.TestCase):
    def setUp(self):
        self.manager = IoTHubConfigurationManager.from_connection_string(os.environ["IOTHUB_CONNECTION_STRING"])

    def refused(self, status, name, call, *arguments):
        with self.assertRaises(HttpOperationError) as refusal:
            call(*arguments)
        self.assertEqual(status, refusal.exception.response.status_code)
        self.assertEqual(name, refusal.exception.response.headers["iothub-errorcode"])

    def test_lifecycle(self):
        service.hub.call("PUT", f"/devices/{DEVICE}", {"deviceId": DEVICE})
        self.addCleanup(service.hub.call, "DELETE", f"/devices/{DEVICE}")
        wanted = Configuration(
            id=ID, schema_version="1.0", labels={"stage": "test"}, priority=10, target_condition=f"deviceId='{DEVICE}'",
            content=ConfigurationContent(device_content={"properties.desired.fan": {"speed": 3}}),
            metrics=ConfigurationMetrics(queries={"silent": f"SELECT deviceId FROM devices WHERE deviceId='{DEVICE}'"}))
        created = self.manager.create_configuration(wanted)
        self.assertEqual((ID, 10, {"stage": "test"}), (created.id, created.priority, created.labels))
        self.refused(409, "ConfigurationAlreadyExists", self.manager.create_configuration, wanted)

        found = self.evaluated()
        self.assertEqual({"targetedCount": 1, "appliedCount": 1}, found.system_metrics.results)
        twin = service.hub.call("GET", f"/twins/{DEVICE}")
        self.assertEqual({"speed": 3}, twin["properties"]["desired"]["fan"])
        self.assertEqual({ID: {"status": "Applied"}}, twin["configurations"])
        self.assertIn(ID, [one.id for one in self.manager.get_configurations()])

        found.priority = 20
        updated = self.manager.update_configuration(found, found.etag)
        self.assertEqual(20, updated.priority)
        self.refused(412, "PreconditionFailed", self.manager.update_configuration, found, found.etag)
        updated = self.manager.update_configuration(found, "*")
        self.manager.delete_configuration(ID, updated.etag)
        self.refused(404, "ConfigurationNotFound", self.manager.get_configuration, ID)

    def evaluated(self):
        for _ in range(200):  # in the background, as in Azure
            found = self.manager.get_configuration(ID)
            if found.metrics.results.get("silent") == 1:
                return found
            time.sleep(0.05)
        self.fail("it was not evaluated within ten seconds")

    def test_queries(self):
        tested = self.manager.test_configuration_queries(ConfigurationQueriesTestInput(
            target_condition="tags.site='A'", custom_metric_queries={"all": "SELECT deviceId FROM devices"}))
        self.assertFalse(tested.target_condition_error or tested.custom_metric_query_errors)
        tested = self.manager.test_configuration_queries(ConfigurationQueriesTestInput(
            target_condition="tags.site=", custom_metric_queries={"none": "SELECT"}))
        self.assertTrue(tested.target_condition_error)
        self.assertEqual(["none"], list(tested.custom_metric_query_errors))

    def test_content_of_one_device(self):
        service.hub.call("PUT", f"/devices/{EDGE}", {"deviceId": EDGE, "capabilities": {"iotEdge": True}})
        self.addCleanup(service.hub.call, "DELETE", f"/devices/{EDGE}")
        content = ConfigurationContent(modules_content={
            "$edgeAgent": {"properties.desired": {"modules": {}}}, "sensor": {"properties.desired": {"a": 1}}})
        self.manager.apply_configuration_on_edge_device(EDGE, content)
        twin = service.hub.call("GET", f"/twins/{EDGE}/modules/sensor")
        self.assertEqual(1, twin["properties"]["desired"]["a"])
        self.refused(404, "DeviceNotFound", self.manager.apply_configuration_on_edge_device, "python-nobody", content)


if __name__ == "__main__":
    unittest.main()
