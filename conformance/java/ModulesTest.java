import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.microsoft.azure.sdk.iot.device.IotHubClientProtocol;
import com.microsoft.azure.sdk.iot.device.Message;
import com.microsoft.azure.sdk.iot.device.ModuleClient;
import com.microsoft.azure.sdk.iot.device.twin.Twin;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubException;
import com.microsoft.azure.sdk.iot.service.registry.Device;
import com.microsoft.azure.sdk.iot.service.registry.Module;
import com.microsoft.azure.sdk.iot.service.registry.RegistryClient;
import com.microsoft.azure.sdk.iot.service.twin.TwinClient;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Modules of the Java SDK: identities and twins of a back end, and a module that connects. */
class ModulesTest {
    private static final int PATIENCE = 10_000; // milliseconds

    private final RegistryClient registry = new RegistryClient(Berth.HUB);
    private final TwinClient twins = new TwinClient(Berth.HUB);

    @Test
    void identity() throws Exception {
        String id = "java-modules";
        registry.addDevice(new Device(id));
        try {
            Module made = registry.addModule(new Module(id, "m"));
            assertNotNull(made.getPrimaryKey());
            made.getSymmetricKey().setPrimaryKey(made.getSecondaryKey());
            Module updated = registry.updateModule(made);
            assertEquals(made.getSecondaryKey(), updated.getPrimaryKey());
            assertEquals(made.getGenerationId(), updated.getGenerationId());
            registry.addModule(new Module(id, "a"));
            assertEquals(2, registry.getModulesOnDevice(id).size());

            var twin = twins.get(id, "m");
            assertEquals("m", twin.getModuleId());
            twin.getDesiredProperties().put("interval", 5);
            twins.patch(twin);
            assertEquals(5, ((Number) twins.get(id, "m").getDesiredProperties().get("interval")).intValue());

            registry.removeModule(id, "m");
            assertThrows(IotHubException.class, () -> registry.getModule(id, "m"));
        } finally {
            registry.removeDevice(id);
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"MQTT", "MQTT_WS"})
    void module(IotHubClientProtocol protocol) throws Exception {
        String id = "java-module-" + protocol.name();
        registry.addDevice(new Device(id));
        Module made = registry.addModule(new Module(id, "m"));
        ModuleClient module = new ModuleClient("HostName=" + Berth.HUB_HOST + ";DeviceId=" + id + ";ModuleId=m;SharedAccessKey=" + made.getPrimaryKey(), protocol);
        try {
            module.open(true);
            module.sendEvent(new Message("21.5"), "temperature");
            assertEquals("connected", registry.getModule(id, "m").getConnectionState().toString().toLowerCase());

            BlockingQueue<Twin> changes = new LinkedBlockingQueue<>();
            DeviceTest.ask(() -> {
                module.subscribeToDesiredProperties((twin, context) -> changes.add(twin), null, PATIENCE);
                return null;
            });
            var wanted = twins.get(id, "m");
            wanted.getDesiredProperties().put("interval", 5);
            twins.patch(wanted);
            Twin told = changes.poll(30, TimeUnit.SECONDS);
            assertNotNull(told, "the module was not told of the change");
            assertEquals(5, ((Number) told.getDesiredProperties().get("interval")).intValue());

            DeviceTest.ask(() -> { // the version is another when only the answer was lost
                Twin twin = module.getTwin(PATIENCE);
                twin.getReportedProperties().put("mode", "slow");
                return module.updateReportedProperties(twin.getReportedProperties(), PATIENCE);
            });
            assertEquals("slow", twins.get(id, "m").getReportedProperties().get("mode"));
        } finally {
            module.close();
            registry.removeDevice(id);
        }
    }
}
