import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;

import com.microsoft.azure.sdk.iot.device.ClientOptions;
import com.microsoft.azure.sdk.iot.device.DeviceClient;
import com.microsoft.azure.sdk.iot.device.IotHubClientProtocol;
import com.microsoft.azure.sdk.iot.device.IotHubMessageResult;
import com.microsoft.azure.sdk.iot.device.Message;
import com.microsoft.azure.sdk.iot.service.auth.IotHubServiceSasToken;
import com.microsoft.azure.sdk.iot.service.auth.IotHubConnectionStringBuilder;
import com.microsoft.azure.sdk.iot.service.registry.Device;
import com.microsoft.azure.sdk.iot.service.registry.RegistryClient;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Messages to a device of the Java SDK, which over HTTPS completes, rejects and abandons them. */
class MessagesTest {
    private static final int RECEIVE_INTERVAL = 200; // milliseconds, between two polls over HTTPS

    private static String call(String method, String path, String body) throws Exception {
        var hub = IotHubConnectionStringBuilder.createIotHubConnectionString(Berth.HUB);
        String token = new IotHubServiceSasToken(hub).toString();
        URI uri = URI.create("https://" + Berth.HUB_HOST + path + "?api-version=2021-04-12");
        HttpRequest request = HttpRequest.newBuilder(uri)
            .header("Authorization", token).header("Content-Type", "application/json")
            .method(method, HttpRequest.BodyPublishers.ofString(body)).build();
        HttpResponse<String> response = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
        assertEquals(2, response.statusCode() / 100, response.body());
        return response.body();
    }

    private static void send(String id, String messageId, String payload) throws Exception {
        call("POST", "/berth/hub/devices/" + id + "/messages",
            "{\"messageId\":\"" + messageId + "\",\"ack\":\"full\",\"correlationId\":\"c/1\","
            + "\"properties\":{\"level\":\"high & dry\"},\"payload\":\"" + payload + "\"}");
    }

    /** Waits for the outcome of one message. */
    private static void outcome(String id, String messageId, String outcome) throws Exception {
        StringBuilder seen = new StringBuilder();
        for (int i = 0; i < 100; i++) {
            seen.append(call("GET", "/messages/serviceBound/feedback", ""));
            for (String record : seen.toString().split("}")) {
                if (record.contains("\"" + messageId + "\"") && record.contains("\"" + outcome + "\"")
                    && record.contains("\"" + id + "\"")) {
                    return;
                }
            }
            Thread.sleep(100); // a device's acknowledgement may still be on its way
        }
        assertEquals(outcome, "nothing", "the feedback on " + messageId + " in " + seen);
    }

    @ParameterizedTest
    @EnumSource(names = {"MQTT", "MQTT_WS", "HTTPS"})
    void messages(IotHubClientProtocol protocol) throws Exception {
        String id = "java-messages-" + protocol.name();
        RegistryClient registry = new RegistryClient(Berth.HUB);
        Device made = registry.addDevice(new Device(id));
        ClientOptions options = ClientOptions.builder().receiveInterval(RECEIVE_INTERVAL).build();
        String connection = "HostName=" + Berth.HUB_HOST + ";DeviceId=" + id + ";SharedAccessKey="
            + made.getPrimaryKey();
        DeviceClient device = new DeviceClient(connection, protocol, options);
        BlockingQueue<Message> received = new LinkedBlockingQueue<>();
        BlockingQueue<IotHubMessageResult> answers = new LinkedBlockingQueue<>();
        device.setMessageCallback((message, context) -> {
            received.add(message);
            IotHubMessageResult answer = answers.poll();
            return answer == null ? IotHubMessageResult.COMPLETE : answer;
        }, null);
        try {
            send(id, "m1", "before");
            device.open(true);
            Message first = received.poll(30, TimeUnit.SECONDS);
            assertNotNull(first, "the message that waited for the device did not come");
            assertEquals("before", new String(first.getBytes()));
            assertEquals("m1", first.getMessageId());
            assertEquals("c/1", first.getCorrelationId());
            assertEquals("high & dry", first.getProperty("level"));
            outcome(id, "m1", "Success");
            for (int i = 0; i < 20; i++) {
                send(id, "n" + i, "number " + i);
            }
            for (int i = 0; i < 20; i++) {
                Message next = received.poll(30, TimeUnit.SECONDS);
                assertNotNull(next, "message " + i + " did not come");
                assertEquals("number " + i, new String(next.getBytes()));
            }
            if (protocol == IotHubClientProtocol.HTTPS) { // MQTT has nothing but PUBACK
                outcome(id, "n19", "Success"); // or it would get the answer that is for the next
                answers.add(IotHubMessageResult.ABANDON);
                answers.add(IotHubMessageResult.REJECT);
                send(id, "unwanted", "twice");
                for (int i = 0; i < 2; i++) {
                    Message again = received.poll(30, TimeUnit.SECONDS);
                    assertNotNull(again, "what was given back did not come again");
                    assertEquals("unwanted", again.getMessageId());
                }
                outcome(id, "unwanted", "Rejected");
            }
        } finally {
            device.close();
            registry.removeDevice(id);
        }
    }
}
