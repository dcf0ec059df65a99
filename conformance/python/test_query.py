"""Queries of twins through Azure's Python service client, as `az iot hub query` uses it."""
import json
import os
import unittest

from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import QuerySpecification
from msrest.exceptions import HttpOperationError

import service

IDS = ["python-query-1", "python-query-2", "python-query-3"]
OURS = " FROM devices WHERE STARTSWITH(deviceId, 'python-query-')"


class Query(unittest.TestCase):
    def setUp(self):
        self.manager = IoTHubRegistryManager.from_connection_string(os.environ["IOTHUB_CONNECTION_STRING"])
        for i, device_id in enumerate(IDS):
            service.create_device(device_id)
            self.addCleanup(service.hub.call, "DELETE", f"/devices/{device_id}")
            service.hub.call("PATCH", f"/twins/{device_id}", {"tags": {"site": ["Lyon", "Paris"][i % 2], "floor": i}})

    def pages(self, query, size):
        """All pages of a query."""
        continuation = None
        while True:
            answer = self.manager.query_iot_hub(QuerySpecification(query=query), continuation, size)
            yield answer.items
            continuation = answer.continuation_token
            if not continuation:
                return

    def test_twins(self):
        for size, lengths in ((1, [1, 1, 1]), (2, [2, 1]), (3, [3]), (None, [3])):
            pages = list(self.pages("SELECT *" + OURS, size))
            self.assertEqual(lengths, [len(page) for page in pages])
            twins = [twin for page in pages for twin in page]
            self.assertEqual(IDS, [twin.device_id for twin in twins])
            self.assertEqual(["Lyon", "Paris", "Lyon"], [twin.tags["site"] for twin in twins])
            self.assertEqual("enabled", twins[0].status)

    def test_condition(self):
        query = "SELECT *" + OURS + " AND tags.site = 'Lyon' AND NOT (tags.floor < 1) AND status != 'disabled'"
        self.assertEqual([[IDS[2]]], [[twin.device_id for twin in page] for page in self.pages(query, 10)])

    def test_members(self):
        """The client reads every row as a twin: what it has no name for is in additional_properties."""
        rows = next(self.pages("SELECT tags.site AS site, COUNT() AS n" + OURS + " GROUP BY tags.site", 10))
        self.assertEqual([{"site": "Lyon", "n": 2}, {"site": "Paris", "n": 1}],
                         [row.additional_properties for row in rows])

    def test_refusal(self):
        with self.assertRaises(HttpOperationError) as refused:
            next(self.pages("SELECT * FROM devices WHERE tags.site LIKE 'P%'", 10))
        self.assertEqual(400, refused.exception.response.status_code)
        message = json.loads(refused.exception.response.text)["Message"]
        self.assertTrue(message.startswith("ErrorCode:ArgumentInvalid;"), message)
        self.assertIn("line 1, column 39", message)


if __name__ == "__main__":
    unittest.main()
