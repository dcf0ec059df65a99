import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.microsoft.azure.sdk.iot.service.exceptions.IotHubException;
import com.microsoft.azure.sdk.iot.service.jobs.DirectMethodsJobOptions;
import com.microsoft.azure.sdk.iot.service.jobs.ScheduledJob;
import com.microsoft.azure.sdk.iot.service.jobs.ScheduledJobStatus;
import com.microsoft.azure.sdk.iot.service.jobs.ScheduledJobType;
import com.microsoft.azure.sdk.iot.service.jobs.ScheduledJobsClient;
import com.microsoft.azure.sdk.iot.service.query.JobQueryResponse;
import com.microsoft.azure.sdk.iot.service.registry.Device;
import com.microsoft.azure.sdk.iot.service.registry.RegistryClient;
import com.microsoft.azure.sdk.iot.service.twin.Twin;
import com.microsoft.azure.sdk.iot.service.twin.TwinClient;
import java.util.Date;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Scheduled jobs of the Java service client. */
class JobsTest {
    private static final String CONDITION = "deviceId = 'java-jobs'";
    private final ScheduledJobsClient jobs = new ScheduledJobsClient(Berth.HUB);
    private final RegistryClient registry = new RegistryClient(Berth.HUB);

    @BeforeEach
    void create() throws Exception { registry.addDevice(new Device("java-jobs")); }

    @AfterEach
    void delete() throws Exception { registry.removeDevice("java-jobs"); }

    private ScheduledJob ended(String id) throws Exception {
        for (int i = 0; i < 200; i++) {
            ScheduledJob job = jobs.get(id);
            if (job.getJobStatus() == ScheduledJobStatus.completed || job.getJobStatus() == ScheduledJobStatus.failed) {
                return job;
            }
            Thread.sleep(100);
        }
        throw new AssertionError("the job " + id + " does not end");
    }

    private static Twin patch() {
        Twin patch = new Twin();
        patch.setETag("*");
        patch.getTags().put("site", "quay");
        patch.getDesiredProperties().put("interval", 60);
        return patch;
    }

    @Test
    void twin() throws Exception {
        ScheduledJob made = jobs.scheduleUpdateTwin("JAVA-twin", CONDITION, patch(), new Date(), 60);
        assertEquals(ScheduledJobType.scheduleUpdateTwin, made.getJobType());
        ScheduledJob job = ended("JAVA-twin");
        assertEquals(ScheduledJobStatus.completed, job.getJobStatus());
        assertEquals(1, job.getJobStatistics().getSucceededCount());
        assertEquals("quay", new TwinClient(Berth.HUB).get("java-jobs").getTags().get("site"));
    }

    @Test
    void method() throws Exception {
        DirectMethodsJobOptions options = DirectMethodsJobOptions.builder().payload("now").methodResponseTimeoutSeconds(5)
            .methodConnectTimeoutSeconds(1).maxExecutionTimeSeconds(60).build(); // its own is 200 s, more than the other
        jobs.scheduleDirectMethod("java-method", CONDITION, "reboot", new Date(), options);
        ScheduledJob job = ended("java-method"); // of a device that is not connected
        assertEquals(ScheduledJobStatus.completed, job.getJobStatus());
        assertEquals(1, job.getJobStatistics().getFailedCount());
        JobQueryResponse rows = jobs.query("SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'java-method'");
        assertTrue(rows.hasNext());
        ScheduledJob row = rows.next();
        assertEquals("java-jobs", row.getDeviceId());
        assertEquals(ScheduledJobStatus.failed, row.getJobStatus());
    }

    @Test
    void later() throws Exception {
        jobs.scheduleUpdateTwin("java-later", CONDITION, patch(), new Date(System.currentTimeMillis() + 3600_000), 60);
        JobQueryResponse found = jobs.query(ScheduledJobType.scheduleUpdateTwin, ScheduledJobStatus.scheduled);
        boolean seen = false;
        while (found.hasNext()) {
            seen |= found.next().getJobId().equals("java-later");
        }
        assertTrue(seen);
        assertEquals(ScheduledJobStatus.cancelled, jobs.cancel("java-later").getJobStatus());
        assertThrows(IotHubException.class, () -> jobs.cancel("java-later"));
        assertEquals(ScheduledJobStatus.unknown, jobs.get("java-none").getJobStatus());
    }
}
