// A device with a symmetric key on Azure's Node device client over HTTPS: messages, one and
// several at once, and messages to it.
'use strict';

const assert = require('node:assert/strict');
const { after, before, test } = require('node:test');
const { promisify } = require('node:util');
const { Message } = require('azure-iot-device');
const { clientFromConnectionString, Http } = require('azure-iot-device-http');
const { call, hubHost, registry, telemetry } = require('./berth');

const id = 'node-http';
let connectionString;

before(async () => {
  const { responseBody: identity } = await registry.create({ deviceId: id });
  connectionString = `HostName=${hubHost};DeviceId=${id};SharedAccessKey=${identity.authentication.symmetricKey.primaryKey}`;
});
after(() => registry.delete(id));

test('a message, and a batch of three', async () => {
  const device = clientFromConnectionString(connectionString);
  await device.open();
  const message = new Message('{"temperature":21.5}');
  message.messageId = 'm-1';
  message.correlationId = 'c 1';
  message.contentType = 'application/json';
  message.contentEncoding = 'utf-8';
  message.properties.add('fooBar', 'Mixed Case');
  message.properties.add('Level', 'high');
  await device.sendEvent(message);

  const batch = ['one', 'two', 'three'].map((text) => new Message(text));
  batch[1].properties.add('fooBar', '2');
  batch[1].properties.add('LEVEL', 'low');
  await device.sendEventBatch(batch);

  const [first, ...rest] = await telemetry(id, 4);
  assert.deepEqual(first.body, { temperature: 21.5 });
  assert.deepEqual(first.properties, { fooBar: 'Mixed Case', Level: 'high' });
  assert.equal(first.systemProperties['message-id'], 'm-1');
  assert.equal(first.systemProperties['correlation-id'], 'c 1');
  assert.equal(first.systemProperties['content-type'], 'application/json');
  assert.deepEqual(rest.map(({ body }) => body), ['one', 'two', 'three']);
  assert.deepEqual(rest.map(({ properties }) => properties), [{}, { fooBar: '2', LEVEL: 'low' }, {}]);
  const { responseBody: seen } = await registry.get(id);
  assert.equal(seen.connectionState, 'Disconnected');
  assert.ok(new Date(seen.lastActivityTime) > new Date(Date.now() - 60_000));
  await device.close();
});

test('messages to the device are completed, rejected and abandoned', async () => {
  const send = (messageId) => call('POST', `/berth/hub/devices/${id}/messages`,
    { messageId, payload: messageId, ack: 'full', properties: { level: 'high' } });
  for (const messageId of ['first', 'second']) await send(messageId);
  const device = clientFromConnectionString(connectionString);
  const got = [];
  const settled = [];
  device.setOptions({ http: { receivePolicy: { interval: 1 } } }, () => {});
  await new Promise((resolve, reject) => {
    device.on('error', reject);
    device.on('message', async (message) => {
      const text = message.getData().toString();
      got.push(text);
      try {
        if (got.length === 1) await device.abandon(message); // it comes again
        else if (text === 'first') await device.complete(message);
        else await device.reject(message);
      } catch (error) {
        return reject(error);
      }
      if (settled.push(text) === 3) resolve();
    });
  });
  device.removeAllListeners('message');
  await device.close();
  assert.deepEqual(got.sort(), ['first', 'first', 'second']);

  const outcomes = {};
  while (Object.keys(outcomes).length < 2) {
    const records = await call('GET', '/messages/serviceBound/feedback') ?? [];
    for (const record of records) outcomes[record.originalMessageId] = record.statusCode;
  }
  assert.deepEqual(outcomes, { first: 'Success', second: 'Rejected' });
});

test('a device that is disabled is refused', async () => {
  await registry.update({ deviceId: id, status: 'disabled' });
  const device = clientFromConnectionString(connectionString);
  const send = promisify((message, done) => device.sendEvent(message, done));
  await assert.rejects(send(new Message('x')), { name: 'UnauthorizedError' });
  await device.close(); // and with it the timer of its token
});
