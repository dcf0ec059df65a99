import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.microsoft.azure.sdk.iot.service.configurations.Configuration;
import com.microsoft.azure.sdk.iot.service.configurations.ConfigurationContent;
import com.microsoft.azure.sdk.iot.service.configurations.ConfigurationMetrics;
import com.microsoft.azure.sdk.iot.service.configurations.ConfigurationsClient;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubException;
import com.microsoft.azure.sdk.iot.service.registry.Device;
import com.microsoft.azure.sdk.iot.service.registry.RegistryClient;
import com.microsoft.azure.sdk.iot.service.twin.DeviceCapabilities;
import com.microsoft.azure.sdk.iot.service.twin.Twin;
import com.microsoft.azure.sdk.iot.service.twin.TwinClient;
import java.util.HashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Automatic device management of the Java service client. */
class ConfigurationsTest {
    private static final String ID = "java-configuration";
    private static final String DEVICE = "java-configured";
    private static final ConfigurationsClient CLIENT = new ConfigurationsClient(Berth.HUB);

    private static Configuration wanted() {
        Configuration wanted = new Configuration(ID);
        ConfigurationContent content = new ConfigurationContent();
        content.setDeviceContent(new HashMap<>(Map.of("properties.desired.fan", Map.of("speed", 3))));
        wanted.setContent(content);
        wanted.setTargetCondition("deviceId='" + DEVICE + "'");
        wanted.setPriority(10);
        wanted.setLabels(new HashMap<>(Map.of("stage", "test")));
        ConfigurationMetrics metrics = new ConfigurationMetrics();
        metrics.setQueries(new HashMap<>(Map.of("silent", "SELECT deviceId FROM devices WHERE deviceId='" + DEVICE + "'")));
        metrics.setResults(new HashMap<>());
        wanted.setMetrics(metrics);
        return wanted;
    }

    /** Waits until a configuration was evaluated, which goes on in the background, as in Azure. */
    private static Configuration evaluated() throws Exception {
        for (int i = 0; i < 200; i++) {
            Configuration found = CLIENT.get(ID);
            Long silent = found.getMetrics().getResults().get("silent");
            if (silent != null && silent == 1) {
                return found;
            }
            Thread.sleep(50);
        }
        throw new AssertionError("it was not evaluated within ten seconds");
    }

    @Test
    void lifecycle() throws Exception {
        RegistryClient registry = new RegistryClient(Berth.HUB);
        registry.addDevice(new Device(DEVICE));
        try {
            Configuration created = CLIENT.create(wanted());
            assertEquals(10, created.getPriority());
            assertEquals("test", created.getLabels().get("stage"));
            assertThrows(IotHubException.class, () -> CLIENT.create(wanted()));

            Configuration found = evaluated();
            assertEquals(1, found.getSystemMetrics().getResults().get("targetedCount"));
            assertEquals(1, found.getSystemMetrics().getResults().get("appliedCount"));
            Twin twin = new TwinClient(Berth.HUB).get(DEVICE);
            assertTrue(twin.getDesiredProperties().get("fan").toString().contains("speed"));
            // Its status is null here: the client reads "applied", and Azure's queries have 'Applied'.
            assertTrue(twin.getConfigurations().containsKey(ID));
            assertTrue(CLIENT.get(20).stream().anyMatch(one -> one.getId().equals(ID)));

            found.setPriority(20);
            assertEquals(20, CLIENT.replace(found).getPriority());
        } finally {
            CLIENT.delete(ID);
            registry.removeDevice(DEVICE);
        }
        assertThrows(IotHubException.class, () -> CLIENT.get(ID));
    }

    @Test
    void contentOfOneDevice() throws Exception {
        RegistryClient registry = new RegistryClient(Berth.HUB);
        Device edge = new Device("java-edge");
        DeviceCapabilities capabilities = new DeviceCapabilities();
        capabilities.setIotEdge(true);
        edge.setCapabilities(capabilities);
        registry.addDevice(edge);
        try {
            ConfigurationContent content = new ConfigurationContent();
            content.setModulesContent(new HashMap<>(Map.of(
                "$edgeAgent", new HashMap<>(Map.of("properties.desired", Map.of("modules", Map.of()))),
                "sensor", new HashMap<>(Map.of("properties.desired", Map.of("a", 1))))));
            CLIENT.applyConfigurationContentOnDevice("java-edge", content);
            Twin twin = new TwinClient(Berth.HUB).get("java-edge", "sensor");
            assertTrue(twin.getDesiredProperties().get("a").toString().startsWith("1"));
        } finally {
            registry.removeDevice("java-edge");
        }
    }
}
