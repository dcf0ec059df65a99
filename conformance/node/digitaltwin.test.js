// Digital twins with Azure's Node clients: a device that follows the conventions of IoT Plug
// and Play, seen and commanded by DigitalTwinClient.
'use strict';

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { test } = require('node:test');
const { promisify } = require('node:util');
const { DigitalTwinClient, IoTHubTokenCredentials } = require('azure-iothub');
const { Client } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');
const { hubHost, registry } = require('./berth');

const twins = new DigitalTwinClient(new IoTHubTokenCredentials(process.env.IOTHUB_CONNECTION_STRING));
const id = 'node-digital';
const model = 'dtmi:com:example:TemperatureController;1';

// view is a digital twin without its response.
const view = async () => JSON.parse((await twins.getDigitalTwin(id))._response.bodyAsText);

test('properties and commands of a device with components', async (t) => {
  const { responseBody: identity } = await registry.create({ deviceId: id });
  t.after(() => registry.delete(id));
  assert.deepEqual(await view(), { $dtId: id, $metadata: { $model: '' } });

  const key = identity.authentication.symmetricKey.primaryKey;
  const device = Client.fromConnectionString(`HostName=${hubHost};DeviceId=${id};SharedAccessKey=${key}`, Mqtt);
  await device.setOptions({ modelId: model });
  await device.open();
  t.after(() => promisify((done) => device.close(done))());
  const answer = (request, response) => response.send(203, { did: request.methodName, with: request.payload }, () => {});
  device.onDeviceMethod('reboot', answer);
  device.onDeviceMethod('thermostat1*getMaxMinReport', answer);
  const twin = await device.getTwin();
  const report = promisify((patch, done) => twin.properties.reported.update(patch, done));
  await report({ serialNumber: 'alwinexlepaho8329', thermostat1: { __t: 'c', maxTempSinceLastReboot: 25.3 } });

  await promisify((done) => twin.enableTwinDesiredPropertiesUpdates(done))();
  const changed = once(twin, 'properties.desired.thermostat1');
  const patch = [{ op: 'add', path: '/thermostat1/targetTemperature', value: 21.4 }];
  const patched = await new Promise((resolve, reject) => { // a promise has no result of 202
    twins.updateDigitalTwin(id, patch, (error, _result, response) => (error ? reject(error) : resolve(response)));
  });
  assert.equal(patched.status, 202);
  assert.ok(patched.headers.get('location'));
  const [told] = await changed;
  assert.deepEqual(told, { __t: 'c', targetTemperature: 21.4 });
  await report({ thermostat1: { __t: 'c', targetTemperature: { value: 21.4, ac: 200, av: 2, ad: 'done' } } });

  const seen = await view();
  assert.equal(seen.$metadata.$model, model);
  assert.equal(seen.serialNumber, 'alwinexlepaho8329');
  assert.ok(Date.parse(seen.$metadata.serialNumber.lastUpdateTime));
  const { targetTemperature: { lastUpdateTime, ...target }, maxTempSinceLastReboot } = seen.thermostat1.$metadata;
  assert.deepEqual(target, { desiredValue: 21.4, desiredVersion: 2, ackVersion: 2, ackCode: 200, ackDescription: 'done' });
  assert.ok(Date.parse(lastUpdateTime) && Date.parse(maxTempSinceLastReboot.lastUpdateTime));
  assert.equal(seen.thermostat1.targetTemperature, 21.4);

  const options = { connectTimeoutInSeconds: 20, responseTimeoutInSeconds: 20 };
  const root = await twins.invokeCommand(id, 'reboot', 5, options);
  assert.equal(root.xMsCommandStatuscode, 203);
  assert.deepEqual(root.body, { did: 'reboot', with: 5 });
  const component = await twins.invokeComponentCommand(id, 'thermostat1', 'getMaxMinReport', { since: 'yesterday' }, options);
  assert.equal(component.xMsCommandStatuscode, 203);
  assert.deepEqual(component.body, { did: 'thermostat1*getMaxMinReport', with: { since: 'yesterday' } });

  for (const [patch, status] of [
    [[{ op: 'add', path: '/thermostat1/targetTemperature', value: [1] }], 400],
    [[{ op: 'move', path: '/a', from: '/b' }], 400],
    [[{ op: 'remove', path: '/a/b/c' }], 400],
  ]) {
    const error = await twins.updateDigitalTwin(id, patch).then(() => assert.fail('it was done'), (error) => error);
    assert.equal(error.statusCode, status);
  }
  const stale = await twins.updateDigitalTwin(id, [{ op: 'remove', path: '/thermostat1' }], '"AAAA"').catch((error) => error);
  assert.equal(stale.statusCode, 412);
  await twins.updateDigitalTwin(id, [{ op: 'remove', path: '/thermostat1' }], '*');
});
