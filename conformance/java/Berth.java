import com.microsoft.azure.sdk.iot.provisioning.security.SecurityProviderX509;
import com.microsoft.azure.sdk.iot.provisioning.service.ProvisioningServiceClient;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.Key;
import java.security.KeyFactory;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.List;

/** The server that the tests run against, as the environment names it. */
final class Berth {
    static final String HOST = System.getenv("PROVISIONING_HOST");
    static final String ID_SCOPE = System.getenv("PROVISIONING_IDSCOPE");
    static final String HUB = System.getenv("IOTHUB_CONNECTION_STRING");
    static final String HUB_HOST = HUB.replaceFirst("^.*HostName=([^;]*).*$", "$1");
    static final ProvisioningServiceClient SERVICE =
        new ProvisioningServiceClient(System.getenv("PROVISIONING_CONNECTION_STRING"));

    private Berth() {}

    static String pem(String name) throws IOException {
        return Files.readString(Path.of(System.getenv("CERTIFICATES"), name));
    }

    /** What a device shows that has a certificate. Its file holds the chain, its own certificate first. */
    static final class Certificate extends SecurityProviderX509 {
        private final String registrationId;
        private final List<X509Certificate> chain = new ArrayList<>();
        private final Key key;

        Certificate(String registrationId) throws IOException, GeneralSecurityException {
            this.registrationId = registrationId;
            Path file = Path.of(System.getenv("CERTIFICATES"), registrationId + ".pem");
            try (InputStream pem = Files.newInputStream(file)) {
                for (var certificate : CertificateFactory.getInstance("X.509").generateCertificates(pem)) {
                    chain.add((X509Certificate) certificate);
                }
            }
            String base64 = pem(registrationId + ".key.pem").replaceAll("-----[A-Z ]+-----|\\s", "");
            key = KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(base64)));
        }

        @Override public String getClientCertificateCommonName() { return registrationId; }
        @Override public X509Certificate getClientCertificate() { return chain.get(0); }
        @Override public Key getClientPrivateKey() { return key; }
        @Override public Collection<X509Certificate> getIntermediateCertificatesChain() { return chain.subList(1, chain.size()); }
    }
}
