import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.microsoft.azure.sdk.iot.device.ClientOptions;
import com.microsoft.azure.sdk.iot.device.DeviceClient;
import com.microsoft.azure.sdk.iot.device.IotHubClientProtocol;
import com.microsoft.azure.sdk.iot.device.IotHubMessageResult;
import com.microsoft.azure.sdk.iot.device.Message;
import com.microsoft.azure.sdk.iot.service.auth.IotHubConnectionStringBuilder;
import com.microsoft.azure.sdk.iot.service.auth.IotHubServiceSasToken;
import com.microsoft.azure.sdk.iot.service.registry.Device;
import com.microsoft.azure.sdk.iot.service.registry.RegistryClient;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

/** A device of the Java SDK over HTTPS: a message, a batch, and a message to it. */
class HttpsTest {
    private static final String ID = "java-device-https";

    /** Sends a request to the hub, as a back end, and returns the text of the answer. */
    private static String call(String method, String path, String body) throws Exception {
        var token = new IotHubServiceSasToken(IotHubConnectionStringBuilder.createIotHubConnectionString(Berth.HUB));
        HttpRequest request = HttpRequest.newBuilder(URI.create("https://" + Berth.HUB_HOST + path))
            .header("Authorization", token.toString()).header("Content-Type", "application/json")
            .method(method, HttpRequest.BodyPublishers.ofString(body)).build();
        HttpResponse<String> answer = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
        assertTrue(answer.statusCode() < 300, answer.statusCode() + " " + answer.body());
        return answer.body();
    }

    private static Message message(String text) {
        Message message = new Message(text.getBytes(StandardCharsets.UTF_8));
        message.setMessageId("id of " + text);
        message.setProperty("level", text);
        message.setContentType("text/plain");
        return message;
    }

    @Test
    void device() throws Exception {
        RegistryClient registry = new RegistryClient(Berth.HUB);
        Device made = registry.addDevice(new Device(ID));
        DeviceClient device = new DeviceClient(
            "HostName=" + Berth.HUB_HOST + ";DeviceId=" + ID + ";SharedAccessKey=" + made.getPrimaryKey(),
            IotHubClientProtocol.HTTPS, ClientOptions.builder().receiveInterval(500).build());
        try {
            BlockingQueue<String> received = new LinkedBlockingQueue<>();
            device.setMessageCallback((got, context) -> {
                received.add(new String(got.getBytes(), StandardCharsets.UTF_8) + " " + got.getMessageId() + " " + got.getProperty("level"));
                return IotHubMessageResult.COMPLETE;
            }, null);
            device.open(true);
            device.sendEvent(message("one"));
            device.sendEvents(List.of(message("two"), message("three")));
            String[] sent = call("GET", "/berth/hub/telemetry?from=earliest&max=3&device=" + ID, "").trim().split("\n");
            assertEquals(3, sent.length);
            for (int i = 0; i < sent.length; i++) {
                String text = List.of("one", "two", "three").get(i);
                assertTrue(sent[i].contains("\"body\":\"" + text + "\""), sent[i]);
                assertTrue(sent[i].contains("\"level\":\"" + text + "\""), sent[i]);
                assertTrue(sent[i].contains("\"message-id\":\"id of " + text + "\""), sent[i]);
            }

            call("POST", "/berth/hub/devices/" + ID + "/messages",
                "{\"messageId\":\"m1\",\"payload\":\"hello\",\"properties\":{\"level\":\"high\"}}");
            assertEquals("hello m1 high", received.poll(30, TimeUnit.SECONDS));
        } finally {
            device.close();
            registry.removeDevice(ID);
        }
    }
}
