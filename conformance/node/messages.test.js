// Cloud-to-device messages through Azure's Node device client: over MQTT and MQTT over
// WebSocket, where receiving one is taking it, and over HTTPS, where the device completes,
// rejects or abandons it.
'use strict';

const assert = require('node:assert/strict');
const { on } = require('node:events');
const { test } = require('node:test');
const { Client } = require('azure-iot-device');
const { Http } = require('azure-iot-device-http');
const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');
const { call, hubHost, registry } = require('./berth');

const sent = {
  messageId: 'm 1', correlationId: 'c/1', userId: 'me', contentType: 'application/json', contentEncoding: 'utf-8',
  ack: 'full', properties: { level: 'high & dry', größe: 'ü' }, payload: '{"open":"valve"}',
};

// receiver is a device that is there and its queue: send puts a message into it, next
// returns the next message that the device receives.
const receiver = async (t, id, Transport) => {
  const { responseBody: identity } = await registry.create({ deviceId: id });
  t.after(() => registry.delete(id));
  const key = identity.authentication.symmetricKey.primaryKey;
  const device = Client.fromConnectionString(`HostName=${hubHost};DeviceId=${id};SharedAccessKey=${key}`, Transport);
  const send = (message) => call('POST', `/berth/hub/devices/${id}/messages`, message);
  const start = async () => {
    await device.open();
    t.after(() => device.close());
    const messages = on(device, 'message', { signal: AbortSignal.timeout(60_000) });
    return async () => (await messages.next()).value[0];
  };
  return { device, send, start };
};

// feedback waits for what became of so many messages of the device.
const feedback = async (id, count) => {
  const outcomes = {};
  for (let tries = 0; tries < 200 && Object.keys(outcomes).length < count; tries++) {
    for (const record of await call('GET', '/messages/serviceBound/feedback') ?? []) {
      if (record.deviceId === id) outcomes[record.originalMessageId] = record.statusCode;
    }
    await new Promise((resolve) => setTimeout(resolve, 100)); // a device's acknowledgement may still be on its way
  }
  return outcomes;
};

for (const [name, Transport] of Object.entries({ Mqtt, MqttWs })) {
  test(`${name}: messages to a device`, async (t) => {
    const id = `node-messages-${name.toLowerCase()}`;
    const { device, send, start } = await receiver(t, id, Transport);
    await send(sent); // before the device is there
    const next = await start();
    const first = await next();
    assert.equal(first.data.toString(), sent.payload);
    assert.deepEqual([first.messageId, first.correlationId, first.userId, first.contentType, first.contentEncoding],
      [sent.messageId, sent.correlationId, sent.userId, sent.contentType, sent.contentEncoding]);
    const properties = Object.fromEntries(first.properties.propertyList.map(({ key, value }) => [key, value]));
    assert.equal(properties.level, sent.properties.level);
    assert.equal(properties['größe'], sent.properties['größe']);
    await device.complete(first); // does nothing over MQTT: the PUBACK did
    await assert.rejects(device.abandon(first), /not.*support|implement/i);
    for (let i = 0; i < 20; i++) await send({ payload: String(i) });
    for (let i = 0; i < 20; i++) assert.equal((await next()).data.toString(), String(i));
    assert.deepEqual(await feedback(id, 1), { [sent.messageId]: 'Success' });
  });
}

test('Http: messages to a device', async (t) => {
  const id = 'node-messages-http';
  const { device, send, start } = await receiver(t, id, Http);
  await device.setOptions({ http: { receivePolicy: { interval: 1 } } });
  await send(sent);
  await send({ messageId: 'unwanted', ack: 'negative', payload: 'x' });
  await send({ messageId: 'later', ack: 'positive', payload: 'y' });
  const next = await start();
  const first = await next();
  assert.equal(first.data.toString(), sent.payload);
  assert.deepEqual([first.messageId, first.correlationId], [sent.messageId, sent.correlationId]);
  assert.equal(first.properties.getValue('iothub-app-level'), sent.properties.level); // so the client names it
  await device.complete(first);
  await device.reject(await next());
  const later = await next();
  assert.equal(later.messageId, 'later');
  await device.abandon(later);
  const again = await next();
  assert.equal(again.messageId, 'later');
  await device.complete(again);
  await assert.rejects(device.complete(again), /Precondition Failed/); // its lock is gone
  assert.deepEqual(await feedback(id, 3), { [sent.messageId]: 'Success', unwanted: 'Rejected', later: 'Success' });
});
