import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.microsoft.azure.sdk.iot.provisioning.device.AdditionalData;
import com.microsoft.azure.sdk.iot.provisioning.device.ProvisioningDeviceClient;
import com.microsoft.azure.sdk.iot.provisioning.device.ProvisioningDeviceClientRegistrationResult;
import com.microsoft.azure.sdk.iot.provisioning.device.ProvisioningDeviceClientStatus;
import com.microsoft.azure.sdk.iot.provisioning.device.ProvisioningDeviceClientTransportProtocol;
import com.microsoft.azure.sdk.iot.provisioning.device.internal.exceptions.ProvisioningDeviceClientException;
import com.microsoft.azure.sdk.iot.provisioning.security.SecurityProvider;
import com.microsoft.azure.sdk.iot.provisioning.security.SecurityProviderSymmetricKey;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.Attestation;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.EnrollmentGroup;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.IndividualEnrollment;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.QuerySpecificationBuilder;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.SymmetricKeyAttestation;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.TwinCollection;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.TwinState;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.X509Attestation;
import java.nio.charset.StandardCharsets;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Devices of the Java SDK register over HTTPS, MQTT and MQTT over WebSocket. */
class ProvisioningTest {
    private static final int PATIENCE = 30_000; // milliseconds

    private static TwinState twin() {
        TwinCollection desired = new TwinCollection();
        desired.put("interval", 5);
        return new TwinState(new TwinCollection(), desired);
    }

    private static SymmetricKeyAttestation enroll(String id, Attestation attestation) throws Exception {
        IndividualEnrollment wanted = new IndividualEnrollment(id, attestation);
        wanted.setInitialTwin(twin());
        Attestation made = Berth.SERVICE.createOrUpdateIndividualEnrollment(wanted).getAttestation();
        return made instanceof SymmetricKeyAttestation keys ? keys : null;
    }

    private static byte[] bytes(String text) { return text.getBytes(StandardCharsets.UTF_8); }

    static ProvisioningDeviceClientRegistrationResult register(ProvisioningDeviceClientTransportProtocol protocol, SecurityProvider device) throws Exception {
        ProvisioningDeviceClient client = ProvisioningDeviceClient.create(Berth.HOST, Berth.ID_SCOPE, protocol, device);
        try {
            AdditionalData data = new AdditionalData();
            data.setProvisioningPayload("{\"model\":\"java\"}");
            return client.registerDeviceSync(data, PATIENCE);
        } finally {
            client.close();
        }
    }

    private static void assertAssigned(String id, ProvisioningDeviceClientRegistrationResult result) throws Exception {
        assertEquals(ProvisioningDeviceClientStatus.PROVISIONING_DEVICE_STATUS_ASSIGNED, result.getProvisioningDeviceClientStatus());
        assertEquals(id, result.getDeviceId());
        assertEquals(result.getIothubUri(), Berth.SERVICE.getDeviceRegistrationState(id).getAssignedHub());
    }

    @ParameterizedTest
    @EnumSource(names = {"HTTPS", "MQTT", "MQTT_WS"})
    void key(ProvisioningDeviceClientTransportProtocol protocol) throws Exception {
        String id = "java-key";
        SymmetricKeyAttestation keys = enroll(id, new SymmetricKeyAttestation("", ""));
        ProvisioningDeviceClientRegistrationResult result = register(protocol, new SecurityProviderSymmetricKey(bytes(keys.getPrimaryKey()), id));
        assertAssigned(id, result);

        assertThrows(ProvisioningDeviceClientException.class, () -> register(protocol, new SecurityProviderSymmetricKey(bytes("c2VjcmV0c2VjcmV0c2VjcmV0"), id)));
        Berth.SERVICE.deleteDeviceRegistrationState(id);
        Berth.SERVICE.deleteIndividualEnrollment(id);
    }

    @ParameterizedTest
    @EnumSource(names = {"HTTPS", "MQTT", "MQTT_WS"})
    void derivedKey(ProvisioningDeviceClientTransportProtocol protocol) throws Exception {
        String id = "java-member", group = "java-member-group";
        SymmetricKeyAttestation keys = (SymmetricKeyAttestation) Berth.SERVICE.createOrUpdateEnrollmentGroup(
            new EnrollmentGroup(group, new SymmetricKeyAttestation("", ""))).getAttestation();
        byte[] own = SecurityProviderSymmetricKey.ComputeDerivedSymmetricKey(bytes(keys.getSecondaryKey()), id);
        assertAssigned(id, register(protocol, new SecurityProviderSymmetricKey(own, id)));
        var states = Berth.SERVICE.createEnrollmentGroupRegistrationStateQuery(
            new QuerySpecificationBuilder("*", QuerySpecificationBuilder.FromType.DEVICE_REGISTRATIONS).createSqlQuery(), group);
        assertEquals(1, states.next().getItems().length);
        Berth.SERVICE.deleteDeviceRegistrationState(id);
        Berth.SERVICE.deleteEnrollmentGroup(group);
    }

    @ParameterizedTest
    @EnumSource(names = {"HTTPS", "MQTT", "MQTT_WS"})
    void certificate(ProvisioningDeviceClientTransportProtocol protocol) throws Exception {
        Berth.Certificate device = new Berth.Certificate("java-certificate");
        enroll("java-certificate", X509Attestation.createFromClientCertificates(Berth.pem("java-certificate.pem")));
        ProvisioningDeviceClientRegistrationResult result = register(protocol, device);
        assertAssigned("java-certificate", result);
        Berth.SERVICE.deleteDeviceRegistrationState("java-certificate");
        Berth.SERVICE.deleteIndividualEnrollment("java-certificate");
    }

    @ParameterizedTest
    @EnumSource(names = {"HTTPS", "MQTT", "MQTT_WS"})
    void signedCertificate(ProvisioningDeviceClientTransportProtocol protocol) throws Exception {
        Berth.Certificate device = new Berth.Certificate("java-signed");
        EnrollmentGroup wanted = new EnrollmentGroup("java-signed-group", X509Attestation.createFromRootCertificates(Berth.pem("java-authority.pem")));
        wanted.setInitialTwin(twin());
        Berth.SERVICE.createOrUpdateEnrollmentGroup(wanted);
        ProvisioningDeviceClientRegistrationResult result = register(protocol, device);
        assertAssigned("java-signed", result);
        Berth.SERVICE.deleteDeviceRegistrationState("java-signed");
        Berth.SERVICE.deleteEnrollmentGroup("java-signed-group");
    }
}
