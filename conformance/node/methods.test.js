// Direct methods with Azure's Node clients: a device over MQTT and MQTT over WebSocket,
// called by azure-iothub.
'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { promisify } = require('node:util');
const { Client: ServiceClient } = require('azure-iothub');
const { Client } = require('azure-iot-device');
const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');
const { hubHost, registry } = require('./berth');

const service = ServiceClient.fromConnectionString(process.env.IOTHUB_CONNECTION_STRING);

// call returns what the device answers.
const call = async (id, parameters) => (await service.invokeDeviceMethod(id, parameters)).result;

// failure returns the status and the code of a call that is refused, whose body is JSON in
// a string.
const failure = async (id, parameters) => {
  const error = await call(id, parameters).then(() => assert.fail('it was done'), (error) => error);
  const body = JSON.parse(error.responseBody);
  assert.equal(body.ExceptionMessage, '');
  return [error.name, error.response.statusCode, JSON.parse(body.Message).errorCode];
};

const newDevice = async (t, id, Transport) => {
  const { responseBody: identity } = await registry.create({ deviceId: id });
  t.after(() => registry.delete(id));
  const key = identity.authentication.symmetricKey.primaryKey;
  return Client.fromConnectionString(`HostName=${hubHost};DeviceId=${id};SharedAccessKey=${key}`, Transport);
};

for (const [name, Transport] of Object.entries({ Mqtt, MqttWs })) {
  test(`${name}: a device answers its methods`, async (t) => {
    const id = `node-methods-${name.toLowerCase()}`;
    const device = await newDevice(t, id, Transport);
    await device.open();
    const requests = [];
    device.onDeviceMethod('echo', (request, response) => {
      requests.push(request);
      response.send(207, request.payload, () => {});
    });
    device.onDeviceMethod('silent', () => {});
    // The subscription is under way: a call that waits for the device finds it.
    const waited = { methodName: 'echo', payload: 'first', connectTimeoutInSeconds: 20, responseTimeoutInSeconds: 20 };
    assert.deepEqual(await call(id, waited), { status: 207, payload: 'first' });

    for (const payload of [null, {}, [1, null], 'text', 21.5, { größe: '<ü>' }]) {
      assert.deepEqual(await call(id, { methodName: 'echo', payload, responseTimeoutInSeconds: 20 }), { status: 207, payload });
      assert.equal(requests.at(-1).methodName, 'echo');
    }
    const many = Array.from({ length: 100 }, (_, i) => call(id, { methodName: 'echo', payload: i }));
    assert.deepEqual(await Promise.all(many), Array.from({ length: 100 }, (_, i) => ({ status: 207, payload: i })));

    const silent = await failure(id, { methodName: 'silent', payload: null, responseTimeoutInSeconds: 5 });
    assert.deepEqual(silent, ['GatewayTimeoutError', 504, 504101]);

    const called = new Promise((resolve) => device.onDeviceMethod('cut', resolve));
    const cut = failure(id, { methodName: 'cut', payload: null });
    await called;
    await promisify((done) => device.close(done))();
    assert.deepEqual(await cut, ['Error', 404, 404104]);
  });
}

test('calls that can not be', async (t) => {
  const id = 'node-methods-offline';
  await newDevice(t, id, Mqtt);
  assert.deepEqual(await failure(id, { methodName: 'echo', payload: null }), ['Error', 404, 404103]);
  const begun = Date.now();
  assert.deepEqual(await failure(id, { methodName: 'echo', connectTimeoutInSeconds: 1 }), ['Error', 404, 404103]);
  assert.ok(Date.now() - begun >= 1000);
  assert.deepEqual(await failure('node-nobody', { methodName: 'echo' }), ['Error', 404, 404001]);
  for (const times of [{ responseTimeoutInSeconds: 4 }, { connectTimeoutInSeconds: 6, responseTimeoutInSeconds: 5 }]) {
    assert.deepEqual(await failure(id, { methodName: 'echo', ...times }), ['ArgumentError', 400, 400004]);
  }
});
