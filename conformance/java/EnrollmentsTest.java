import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.microsoft.azure.sdk.iot.provisioning.service.Query;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.AllocationPolicy;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.AttestationMechanismType;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.BulkOperationMode;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.EnrollmentGroup;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.IndividualEnrollment;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.ProvisioningStatus;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.QuerySpecification;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.QuerySpecificationBuilder;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.ReprovisionPolicy;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.SymmetricKeyAttestation;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.TwinCollection;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.TwinState;
import com.microsoft.azure.sdk.iot.provisioning.service.configs.X509Attestation;
import com.microsoft.azure.sdk.iot.provisioning.service.exceptions.ProvisioningServiceClientBadUsageException;
import com.microsoft.azure.sdk.iot.provisioning.service.exceptions.ProvisioningServiceClientNotFoundException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** Every operation of the Java service client. */
class EnrollmentsTest {
    private static QuerySpecification all(QuerySpecificationBuilder.FromType from) {
        return new QuerySpecificationBuilder("*", from).createSqlQuery();
    }

    private static SymmetricKeyAttestation newKeys() { return new SymmetricKeyAttestation("", ""); }

    @Test
    void individual() throws Exception {
        IndividualEnrollment wanted = new IndividualEnrollment("java-one", newKeys());
        TwinCollection tags = new TwinCollection();
        tags.put("site", "harbour");
        TwinCollection desired = new TwinCollection();
        desired.put("interval", 5);
        wanted.setInitialTwin(new TwinState(tags, desired));
        wanted.setDeviceId("java-device");
        IndividualEnrollment made = Berth.SERVICE.createOrUpdateIndividualEnrollment(wanted);
        assertEquals(ProvisioningStatus.ENABLED, made.getProvisioningStatus());
        assertFalse(((SymmetricKeyAttestation) made.getAttestation()).getPrimaryKey().isEmpty());

        IndividualEnrollment changed = Berth.SERVICE.getIndividualEnrollment("java-one");
        assertEquals("java-device", changed.getDeviceId());
        assertEquals("harbour", changed.getInitialTwin().getTags().get("site"));
        changed.setProvisioningStatus(ProvisioningStatus.DISABLED);
        changed.setAllocationPolicy(AllocationPolicy.GEOLATENCY);
        ReprovisionPolicy policy = new ReprovisionPolicy();
        policy.setMigrateDeviceData(true);
        policy.setUpdateHubAssignment(true);
        changed.setReprovisionPolicy(policy);
        IndividualEnrollment after = Berth.SERVICE.createOrUpdateIndividualEnrollment(changed);
        assertNotEquals(made.getEtag(), after.getEtag());
        assertEquals(AllocationPolicy.GEOLATENCY, after.getAllocationPolicy());
        assertTrue(after.getReprovisionPolicy().getMigrateDeviceData());

        // Somebody who has not seen the change is stopped.
        changed.setEtag(made.getEtag());
        assertThrows(ProvisioningServiceClientBadUsageException.class, () -> Berth.SERVICE.createOrUpdateIndividualEnrollment(changed));
        assertThrows(ProvisioningServiceClientBadUsageException.class, () -> Berth.SERVICE.deleteIndividualEnrollment("java-one", made.getEtag()));

        assertEquals(AttestationMechanismType.SYMMETRIC_KEY, Berth.SERVICE.getIndividualEnrollmentAttestationMechanism("java-one").getType());
        Berth.SERVICE.deleteIndividualEnrollment(after);
        assertThrows(ProvisioningServiceClientNotFoundException.class, () -> Berth.SERVICE.getIndividualEnrollment("java-one"));
    }

    @Test
    void group() throws Exception {
        EnrollmentGroup made = Berth.SERVICE.createOrUpdateEnrollmentGroup(
            new EnrollmentGroup("java-signed", X509Attestation.createFromRootCertificates(Berth.pem("java-authority.pem"))));
        X509Attestation shown = (X509Attestation) Berth.SERVICE.getEnrollmentGroup("java-signed").getAttestation();
        assertEquals("CN=java-authority", shown.getPrimaryX509CertificateInfo().getSubjectName());
        assertEquals(AttestationMechanismType.X509, Berth.SERVICE.getEnrollmentGroupAttestationMechanism("java-signed").getType());
        made.setProvisioningStatus(ProvisioningStatus.DISABLED);
        EnrollmentGroup after = Berth.SERVICE.createOrUpdateEnrollmentGroup(made);
        assertEquals(ProvisioningStatus.DISABLED, after.getProvisioningStatus());
        Query query = Berth.SERVICE.createEnrollmentGroupQuery(all(QuerySpecificationBuilder.FromType.ENROLLMENT_GROUPS));
        assertEquals(1, Arrays.stream(query.next().getItems())
            .filter(item -> ((EnrollmentGroup) item).getEnrollmentGroupId().equals("java-signed")).count());
        Berth.SERVICE.deleteEnrollmentGroup(after);
        assertThrows(ProvisioningServiceClientNotFoundException.class, () -> Berth.SERVICE.getEnrollmentGroup("java-signed"));
    }

    @Test
    void bulkAndQuery() throws Exception {
        List<IndividualEnrollment> many = new ArrayList<>(IntStream.range(0, 5)
            .mapToObj(i -> new IndividualEnrollment("java-bulk-" + i, newKeys())).toList());
        assertTrue(Berth.SERVICE.runBulkEnrollmentOperation(BulkOperationMode.CREATE, many).getSuccessful());
        var again = Berth.SERVICE.runBulkEnrollmentOperation(BulkOperationMode.CREATE, many);
        assertFalse(again.getSuccessful());
        assertEquals(5, again.getErrors().size());
        assertEquals(409202, again.getErrors().get(0).getErrorCode());

        Query query = Berth.SERVICE.createIndividualEnrollmentQuery(all(QuerySpecificationBuilder.FromType.ENROLLMENTS), 2);
        int found = 0;
        while (query.hasNext()) {
            for (Object item : query.next().getItems()) {
                found += ((IndividualEnrollment) item).getRegistrationId().startsWith("java-bulk-") ? 1 : 0;
            }
        }
        assertEquals(5, found);
        assertTrue(Berth.SERVICE.runBulkEnrollmentOperation(BulkOperationMode.DELETE, many).getSuccessful());
    }
}
