// Modules: identities and twins by azure-iothub, and a module on azure-iot-device, over MQTT and MQTT over WebSocket.
'use strict';

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { test } = require('node:test');
const { promisify } = require('node:util');
const { Message, ModuleClient } = require('azure-iot-device');
const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');
const { hubHost, refused, registry, telemetry } = require('./berth');

test('identity and twin', async (t) => {
  const deviceId = 'node-modules';
  await registry.create({ deviceId });
  t.after(() => registry.delete(deviceId));
  const { responseBody: created } = await registry.addModule({ deviceId, moduleId: 'm', managedBy: 'somebody' });
  assert.equal(created.moduleId, 'm');
  assert.equal(created.managedBy, 'somebody');
  assert.equal(created.authentication.type, 'sas');
  assert.ok(created.etag && created.generationId);
  const exists = await refused(registry.addModule({ deviceId, moduleId: 'm' }), 'DeviceAlreadyExistsError', 409);
  assert.equal(exists.errorCode, 409301);

  const { responseBody: read } = await registry.getModule(deviceId, 'm');
  assert.deepEqual(read, created);
  const { responseBody: updated } = await registry.updateModule({ ...read, managedBy: 'another' });
  assert.equal(updated.managedBy, 'another');
  assert.deepEqual(updated.authentication.symmetricKey, created.authentication.symmetricKey);
  await refused(registry.updateModule({ ...read, managedBy: 'late' }), 'InvalidEtagError', 412);
  await registry.addModule({ deviceId, moduleId: 'a' });
  const { responseBody: all } = await registry.getModulesOnDevice(deviceId);
  assert.deepEqual(all.map((module) => module.moduleId), ['a', 'm']);

  const { responseBody: twin } = await registry.getModuleTwin(deviceId, 'm');
  assert.equal(twin.moduleId, 'm');
  const { responseBody: patched } = await registry.updateModuleTwin(
    deviceId, 'm', { properties: { desired: { interval: 5 } } }, twin.etag);
  assert.equal(patched.properties.desired.interval, 5);
  await refused(registry.updateModuleTwin(deviceId, 'm', { tags: { a: 1 } }, twin.etag), 'InvalidEtagError', 412);

  await registry.removeModule(deviceId, 'm');
  assert.equal((await refused(registry.getModule(deviceId, 'm'), 'Error', 404)).errorCode, 404010);
});

test('the modules of an IoT Edge device', async (t) => {
  const deviceId = 'node-edge';
  await registry.create({ deviceId, capabilities: { iotEdge: true } });
  t.after(() => registry.delete(deviceId));
  const { responseBody: modules } = await registry.getModulesOnDevice(deviceId);
  assert.deepEqual(modules.map((m) => [m.moduleId, m.managedBy, m.authentication.type]),
    [['$edgeAgent', 'iotEdge', 'none'], ['$edgeHub', 'iotEdge', 'none']]);
});

for (const [name, Transport] of Object.entries({ Mqtt, MqttWs })) {
  test(`${name}: a module`, async (t) => {
    const deviceId = `node-module-${name.toLowerCase()}`;
    await registry.create({ deviceId });
    const { responseBody: identity } = await registry.addModule({ deviceId, moduleId: 'm' });
    const key = identity.authentication.symmetricKey.primaryKey;
    const module = ModuleClient.fromConnectionString(
      `HostName=${hubHost};DeviceId=${deviceId};ModuleId=m;SharedAccessKey=${key}`, Transport);
    t.after(async () => {
      await module.close();
      await registry.delete(deviceId);
    });
    await module.open();
    assert.equal((await registry.getModule(deviceId, 'm')).responseBody.connectionState, 'Connected');
    assert.equal((await registry.get(deviceId)).responseBody.connectionState, 'Disconnected');

    module.on('inputMessage', () => assert.fail('nobody sends to inputs'));
    await module.sendOutputEvent('temperature', new Message('21.5'));
    await module.sendEvent(new Message('plain'));
    const sent = await telemetry(deviceId, 2);
    assert.deepEqual(sent.map((m) => m.systemProperties['iothub-outputname']), ['temperature', undefined]);
    assert.deepEqual(sent.map((m) => m.systemProperties['iothub-connection-module-id']), ['m', 'm']);

    const twin = await module.getTwin();
    await promisify((patch, done) => twin.properties.reported.update(patch, done))({ mode: 'slow' });
    const { responseBody: seen } = await registry.getModuleTwin(deviceId, 'm');
    assert.equal(seen.properties.reported.mode, 'slow');
    await promisify((done) => twin.enableTwinDesiredPropertiesUpdates(done))();
    const changed = once(twin, 'properties.desired.interval');
    await registry.updateModuleTwin(deviceId, 'm', { properties: { desired: { interval: 5 } } }, '*');
    assert.deepEqual(await changed, [5]);
  });
}
