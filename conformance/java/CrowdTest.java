import static org.junit.jupiter.api.Assertions.assertEquals;

import com.microsoft.azure.sdk.iot.provisioning.device.ProvisioningDeviceClientStatus;
import com.microsoft.azure.sdk.iot.provisioning.device.ProvisioningDeviceClientTransportProtocol;
import com.microsoft.azure.sdk.iot.provisioning.device.internal.exceptions.ProvisioningDeviceClientException;
import com.microsoft.azure.sdk.iot.provisioning.security.SecurityProviderSymmetricKey;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.EnrollmentGroup;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.SymmetricKeyAttestation;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Many devices register, some at once, so that the machine is busy. The client sends with QoS 0, and loses an answer
 * that arrives before it is done with sending: then it waits for a minute, or for ever.
 */
class CrowdTest {
    private static final int DEVICES = 50;
    private static final int AT_ONCE = 5;

    @ParameterizedTest
    @EnumSource(names = {"MQTT", "MQTT_WS"})
    void crowd(ProvisioningDeviceClientTransportProtocol protocol) throws Exception {
        String group = "java-crowd-" + protocol.name().toLowerCase().replace('_', '-');
        byte[] key = ((SymmetricKeyAttestation) Berth.SERVICE.createOrUpdateEnrollmentGroup(
            new EnrollmentGroup(group, new SymmetricKeyAttestation("", ""))).getAttestation())
            .getPrimaryKey().getBytes(StandardCharsets.UTF_8);
        ExecutorService threads = Executors.newFixedThreadPool(AT_ONCE);
        try {
            List<Callable<ProvisioningDeviceClientStatus>> devices = new ArrayList<>();
            for (int i = 0; i < DEVICES; i++) {
                String id = group + "-" + i;
                byte[] own = SecurityProviderSymmetricKey.ComputeDerivedSymmetricKey(key, id);
                devices.add(() -> register(protocol, own, id));
            }
            for (Future<ProvisioningDeviceClientStatus> status : threads.invokeAll(devices)) {
                assertEquals(ProvisioningDeviceClientStatus.PROVISIONING_DEVICE_STATUS_ASSIGNED, status.get());
            }
        } finally {
            threads.shutdownNow();
            Berth.SERVICE.deleteEnrollmentGroup(group);
        }
        for (int i = 0; i < DEVICES; i++) {
            Berth.SERVICE.deleteDeviceRegistrationState(group + "-" + i);
        }
    }

    /**
     * Registers, again when the client mistook another thread's Sec-WebSocket-Key for its own: Paho encodes the key with one
     * encoder that all threads share without a lock (org.eclipse.paho.client.mqttv3.internal.websocket.Base64, 1.2.5).
     */
    private static ProvisioningDeviceClientStatus register(ProvisioningDeviceClientTransportProtocol protocol, byte[] key, String id)
        throws Exception {
        for (int attempt = 1; ; attempt++) {
            try {
                return ProvisioningTest.register(protocol, new SecurityProviderSymmetricKey(key, id)).getProvisioningDeviceClientStatus();
            } catch (ProvisioningDeviceClientException refused) {
                Throwable cause = refused;
                while (cause.getCause() != null) {
                    cause = cause.getCause();
                }
                if (attempt == 5 || !String.valueOf(cause.getMessage()).contains("Incorrect Sec-WebSocket-Key")) {
                    throw refused;
                }
            }
        }
    }
}
