// A device with a symmetric key on Azure's Node device client, over MQTT and
// MQTT over WebSocket: telemetry and twin. For HTTPS see http.test.js; AMQP is not served yet.
'use strict';

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { test } = require('node:test');
const { promisify } = require('node:util');
const { Client, Message } = require('azure-iot-device');
const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');
const { hubHost, registry, telemetry } = require('./berth');

for (const [name, Transport] of Object.entries({ Mqtt, MqttWs })) {
  const id = `node-${name.toLowerCase()}`;

  test(`${name}: telemetry and twin`, async (t) => {
    const { responseBody: identity } = await registry.create({ deviceId: id });
    t.after(() => registry.delete(id));
    const key = identity.authentication.symmetricKey.primaryKey;
    const device = Client.fromConnectionString(`HostName=${hubHost};DeviceId=${id};SharedAccessKey=${key}`, Transport);
    await device.open();
    t.after(() => device.close());
    assert.equal((await registry.get(id)).responseBody.connectionState, 'Connected');

    const message = new Message('{"temperature":21.5}');
    message.messageId = 'm-1';
    message.contentType = 'application/json';
    message.contentEncoding = 'utf-8';
    message.properties.add("niveau d'eau", 'élevé & stable');
    await device.sendEvent(message);
    const [received] = await telemetry(id, 1);
    assert.deepEqual(received.body, { temperature: 21.5 });
    assert.deepEqual(received.properties, { "niveau d'eau": 'élevé & stable' });
    assert.equal(received.systemProperties['message-id'], 'm-1');
    assert.equal(received.systemProperties['iothub-connection-device-id'], id);

    const twin = await device.getTwin();
    assert.equal(twin.properties.desired.$version, 1);
    const report = promisify((patch, done) => twin.properties.reported.update(patch, done));
    await report({ firmware: '1.2', old: true });
    await report({ old: null });
    const { responseBody: seen } = await registry.getTwin(id);
    assert.equal(seen.properties.reported.firmware, '1.2');
    assert.equal(seen.properties.reported.old, undefined);
    assert.equal(seen.properties.reported.$version, 3);
    await assert.rejects(report({ text: 'x'.repeat(5000) }), /4096|4 ?KiB|4 ?KB/i); // the reason reaches the device

    await promisify((done) => twin.enableTwinDesiredPropertiesUpdates(done))();
    const changed = once(twin, 'properties.desired.interval');
    await seen.update({ properties: { desired: { interval: 5 } } });
    assert.deepEqual(await changed, [5]);
    assert.equal(twin.properties.desired.$version, 2);
  });
}
