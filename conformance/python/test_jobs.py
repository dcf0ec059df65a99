"""Scheduled jobs through Azure's Python service client."""
import datetime
import os
import time
import unittest

from azure.iot.hub import IoTHubJobManager
from azure.iot.hub.models import CloudToDeviceMethod, JobRequest, Twin, TwinProperties
from msrest.exceptions import HttpOperationError

import service

PATIENCE = 20  # seconds


class Jobs(unittest.TestCase):
    def setUp(self):
        self.manager = IoTHubJobManager(os.environ["IOTHUB_CONNECTION_STRING"])
        service.create_device("python-jobs")
        self.addCleanup(service.hub.call, "DELETE", "/devices/python-jobs")

    def request(self, job_id, **options):
        return JobRequest(job_id=job_id, query_condition="deviceId = 'python-jobs'", **options)

    def ended(self, job_id):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            job = self.manager.get_scheduled_job(job_id)
            if job.status in ("completed", "failed", "cancelled"):
                return job
            time.sleep(0.1)
        self.fail(f"the job {job_id} does not end")

    def test_twin(self):
        twin = Twin(etag="*", tags={"site": "quay"}, properties=TwinProperties(desired={"interval": 60}))
        made = self.manager.create_scheduled_job("python-twin", self.request(
            "python-twin", type="scheduleUpdateTwin", update_twin=twin, max_execution_time_in_seconds=60))
        self.assertEqual(("python-twin", "queued"), (made.job_id, made.status))
        job = self.ended("python-twin")
        self.assertEqual(("completed", 1, 1), (job.status, job.device_job_statistics.device_count,
                                               job.device_job_statistics.succeeded_count))
        self.assertIsInstance(job.end_time, datetime.datetime)
        self.assertEqual("quay", service.hub.call("GET", "/twins/python-jobs")["tags"]["site"])

    def test_method_of_a_device_that_is_not_there(self):
        method = CloudToDeviceMethod(method_name="reboot", payload={"now": True}, response_timeout_in_seconds=5,
                                     connect_timeout_in_seconds=0)
        self.manager.create_scheduled_job("python-method", self.request(
            "python-method", type="scheduleDeviceMethod", cloud_to_device_method=method))
        job = self.ended("python-method")
        self.assertEqual(("completed", 1), (job.status, job.device_job_statistics.failed_count))

    def test_later(self):
        start = (datetime.datetime.utcnow() + datetime.timedelta(hours=1)).isoformat()
        self.manager.create_scheduled_job("python-later", self.request(
            "python-later", type="scheduleUpdateTwin", update_twin=Twin(etag="*", tags={"a": 1}), start_time=start))
        # Jobs are listed by REST: the client expects an object where the service, as Azure's,
        # answers an array.
        found = service.hub.call("GET", "/jobs/v2/query", jobType="scheduleUpdateTwin", jobStatus="scheduled")
        self.assertIn("python-later", [job["jobId"] for job in found])
        self.assertEqual("cancelled", self.manager.cancel_scheduled_job("python-later").status)
        with self.assertRaises(HttpOperationError) as refused:
            self.manager.cancel_scheduled_job("python-later")
        self.assertEqual(405, refused.exception.response.status_code)
        self.assertEqual("unknown", self.manager.get_scheduled_job("python-none").status)


if __name__ == "__main__":
    unittest.main()
