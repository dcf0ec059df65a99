import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.microsoft.azure.sdk.iot.device.DeviceClient;
import com.microsoft.azure.sdk.iot.device.IotHubClientProtocol;
import com.microsoft.azure.sdk.iot.device.twin.DirectMethodResponse;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubException;
import com.microsoft.azure.sdk.iot.service.exceptions.IotHubGatewayTimeoutException;
import com.microsoft.azure.sdk.iot.service.methods.DirectMethodRequestOptions;
import com.microsoft.azure.sdk.iot.service.methods.DirectMethodsClient;
import com.microsoft.azure.sdk.iot.service.registry.Device;
import com.microsoft.azure.sdk.iot.service.registry.RegistryClient;
import java.util.Map;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Direct methods of a device of the Java SDK, called by its service client. */
class MethodsTest {
    @ParameterizedTest
    @EnumSource(names = {"MQTT", "MQTT_WS"})
    void methods(IotHubClientProtocol protocol) throws Exception {
        String id = "java-methods-" + protocol.name();
        RegistryClient registry = new RegistryClient(Berth.HUB);
        DirectMethodsClient methods = new DirectMethodsClient(Berth.HUB);
        Device made = registry.addDevice(new Device(id));
        DeviceClient device = new DeviceClient("HostName=" + Berth.HUB_HOST + ";DeviceId=" + id + ";SharedAccessKey=" + made.getPrimaryKey(), protocol);
        try {
            // Without times the client waits longer for a device than for the answer to its request.
            var atOnce = DirectMethodRequestOptions.builder().methodConnectTimeoutSeconds(0).methodResponseTimeoutSeconds(5).build();
            IotHubException offline = assertThrows(IotHubException.class, () -> methods.invoke(id, "echo", atOnce));
            assertEquals(404103, offline.getErrorCode());

            device.open(true);
            device.subscribeToMethods((name, payload, context) -> {
                if (name.equals("silent")) {
                    try {
                        Thread.sleep(7_000);
                    } catch (InterruptedException e) {
                        Thread.currentThread().interrupt();
                    }
                }
                return new DirectMethodResponse(207, payload.getPayload(Map.class));
            }, null);
            var options = DirectMethodRequestOptions.builder()
                .payload(Map.of("delay", "<ü>"))
                .methodConnectTimeoutSeconds(20)
                .methodResponseTimeoutSeconds(20)
                .build();
            for (int i = 0; i < 10; i++) {
                var answer = methods.invoke(id, "echo", options);
                assertEquals(207, answer.getStatus().intValue());
                assertEquals(Map.of("delay", "<ü>"), answer.getPayload(Map.class));
            }
            var late = assertThrows(IotHubGatewayTimeoutException.class, () -> methods.invoke(id, "silent", atOnce));
            assertEquals(504101, late.getErrorCode());
        } finally {
            device.close();
            registry.removeDevice(id);
        }
    }
}
