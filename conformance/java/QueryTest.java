import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.microsoft.azure.sdk.iot.service.exceptions.IotHubBadFormatException;
import com.microsoft.azure.sdk.iot.service.query.QueryClient;
import com.microsoft.azure.sdk.iot.service.query.QueryPageOptions;
import com.microsoft.azure.sdk.iot.service.query.RawQueryResponse;
import com.microsoft.azure.sdk.iot.service.query.TwinQueryResponse;
import com.microsoft.azure.sdk.iot.service.registry.Device;
import com.microsoft.azure.sdk.iot.service.registry.RegistryClient;
import com.microsoft.azure.sdk.iot.service.twin.Twin;
import com.microsoft.azure.sdk.iot.service.twin.TwinClient;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Queries of twins with the Java SDK, whose iterators read page after page. */
class QueryTest {
    private static final List<String> IDS = List.of("java-query-1", "java-query-2", "java-query-3");
    private static final String OURS = " FROM devices WHERE STARTSWITH(deviceId, 'java-query-')";

    private final QueryClient client = new QueryClient(Berth.HUB);

    @BeforeAll
    static void create() throws Exception {
        RegistryClient registry = new RegistryClient(Berth.HUB);
        TwinClient twins = new TwinClient(Berth.HUB);
        for (String id : IDS) {
            registry.addDevice(new Device(id));
            Twin twin = new Twin(id);
            twin.getTags().put("site", id.endsWith("1") ? "Lyon" : "Paris");
            twins.patch(twin);
        }
    }

    @AfterAll
    static void delete() throws Exception {
        RegistryClient registry = new RegistryClient(Berth.HUB);
        for (String id : IDS) {
            registry.removeDevice(id);
        }
    }

    @Test
    void twins() throws Exception {
        for (int size : new int[] {1, 2, 3, 100}) {
            TwinQueryResponse answer = client.queryTwins("SELECT *" + OURS, QueryPageOptions.builder().pageSize(size).build());
            List<String> found = new ArrayList<>();
            while (answer.hasNext()) {
                Twin twin = answer.next();
                found.add(twin.getDeviceId());
                assertTrue(twin.getTags().containsKey("site"));
            }
            assertEquals(IDS, found);
        }
    }

    @Test
    void rows() throws Exception {
        RawQueryResponse answer = client.queryRaw("SELECT tags.site AS site, COUNT() AS n" + OURS + " GROUP BY tags.site");
        assertEquals("{\"site\":\"Lyon\",\"n\":1}", answer.next());
        assertEquals("{\"site\":\"Paris\",\"n\":2}", answer.next());
        assertEquals(false, answer.hasNext());
    }

    @Test
    void refusal() {
        Exception refused = assertThrows(IotHubBadFormatException.class, () -> client.queryRaw("SELECT * FROM devices WHERE a LIKE 1"));
        assertTrue(refused.getMessage().contains("line 1, column 31"), refused.getMessage());
    }
}
