import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.microsoft.azure.sdk.iot.device.DeviceClient;
import com.microsoft.azure.sdk.iot.device.IotHubClientProtocol;
import com.microsoft.azure.sdk.iot.device.Message;
import com.microsoft.azure.sdk.iot.device.exceptions.IotHubClientException;
import com.microsoft.azure.sdk.iot.device.twin.Twin;
import com.microsoft.azure.sdk.iot.service.registry.Device;
import com.microsoft.azure.sdk.iot.service.registry.RegistryClient;
import com.microsoft.azure.sdk.iot.service.twin.TwinClient;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** A device of the Java SDK and its back end: telemetry, twin, and a change of its desired properties. */
class DeviceTest {
    private static final int TRIES = 5;
    private static final int PATIENCE = 10_000; // milliseconds

    interface Request<T> {
        T make() throws Exception;
    }

    /** The client loses the answer to a request about its twin at times (azure-iot-sdk-java issue 1803): ask again. */
    static <T> T ask(Request<T> request) throws Exception {
        for (int i = 1; ; i++) {
            try {
                return request.make();
            } catch (IotHubClientException e) {
                if (i == TRIES) {
                    throw e;
                }
            }
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"MQTT", "MQTT_WS"})
    void device(IotHubClientProtocol protocol) throws Exception {
        String id = "java-device-" + protocol.name();
        RegistryClient registry = new RegistryClient(Berth.HUB);
        TwinClient twins = new TwinClient(Berth.HUB);
        Device made = registry.addDevice(new Device(id));
        DeviceClient device = new DeviceClient("HostName=" + Berth.HUB_HOST + ";DeviceId=" + id + ";SharedAccessKey=" + made.getPrimaryKey(), protocol);
        try {
            device.open(true);
            Message message = new Message("{\"temperature\":21.5}");
            message.setProperty("level", "normal");
            message.setContentType("application/json");
            device.sendEvent(message);

            BlockingQueue<Twin> changes = new LinkedBlockingQueue<>();
            ask(() -> {
                device.subscribeToDesiredProperties((twin, context) -> changes.add(twin), null, PATIENCE);
                return null;
            });
            var wanted = twins.get(id);
            wanted.getDesiredProperties().put("interval", 5);
            wanted.getTags().put("site", "harbour");
            twins.patch(wanted);
            Twin told = changes.poll(30, TimeUnit.SECONDS);
            assertNotNull(told, "the device was not told of the change");
            assertEquals(5, ((Number) told.getDesiredProperties().get("interval")).intValue());

            ask(() -> { // the version is another when only the answer was lost
                Twin twin = device.getTwin(PATIENCE);
                assertEquals(5, ((Number) twin.getDesiredProperties().get("interval")).intValue());
                twin.getReportedProperties().put("interval", 5);
                return device.updateReportedProperties(twin.getReportedProperties(), PATIENCE);
            });
            var seen = twins.get(id);
            assertEquals(5, ((Number) seen.getReportedProperties().get("interval")).intValue());
            assertEquals("harbour", seen.getTags().get("site"));
            assertTrue(registry.getDevice(id).getConnectionState().toString().equalsIgnoreCase("connected"));
        } finally {
            device.close();
            registry.removeDevice(id);
        }
    }
}
