// Device identities and twins, managed with Azure's Node service client
// azure-iothub.
'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { IoTHubTokenCredentials } = require('azure-iothub');
// Shipped in the package without being exported: the only one of its clients
// that replaces twins, asks for connected devices and lists so many of them.
const { IoTHubRegistryManager } = require('azure-iothub/dist/cl/iothub_registry_manager');
const { refused, registry } = require('./berth');

const manager = new IoTHubRegistryManager(new IoTHubTokenCredentials(process.env.IOTHUB_CONNECTION_STRING));
const id = 'node-registry';
const thumbprint = 'A9'.repeat(32);

test('create, get, update', async () => {
  const { responseBody: created } = await registry.create({ deviceId: id });
  assert.equal(created.status, 'enabled');
  assert.equal(created.connectionState, 'Disconnected');
  assert.equal(created.authentication.type, 'sas');
  assert.equal(Buffer.from(created.authentication.symmetricKey.primaryKey, 'base64').length, 32);
  assert.notEqual(created.authentication.symmetricKey.primaryKey, created.authentication.symmetricKey.secondaryKey);
  assert.ok(created.etag && created.generationId);

  const exists = await refused(registry.create({ deviceId: id }), 'DeviceAlreadyExistsError', 409);
  assert.match(exists.Message, /^ErrorCode:DeviceAlreadyExists;/);

  const { responseBody: read } = await registry.get(id);
  assert.deepEqual(read, created);

  const { responseBody: updated } = await registry.update({ ...read, status: 'disabled', statusReason: 'in repair' });
  assert.equal(updated.status, 'disabled');
  assert.equal(updated.statusReason, 'in repair');
  assert.notEqual(updated.etag, created.etag);
  assert.deepEqual(updated.authentication.symmetricKey, created.authentication.symmetricKey);
  assert.equal(updated.generationId, created.generationId);
  await registry.update({ ...updated, status: 'enabled' });
});

test('a device with certificates is known by their thumbprints', async () => {
  const { responseBody: device } = await registry.create({
    deviceId: 'node-registry-x509',
    authentication: { x509Thumbprint: { primaryThumbprint: thumbprint } },
  });
  assert.equal(device.authentication.type, 'selfSigned');
  assert.equal(device.authentication.x509Thumbprint.primaryThumbprint, thumbprint);
  await registry.delete('node-registry-x509');
});

test('what is not a device', async () => {
  const missing = await refused(registry.get('node-nobody'), 'DeviceNotFoundError', 404);
  assert.match(missing.Message, /^ErrorCode:DeviceNotFound;/);
  assert.ok(missing.ExceptionMessage);
  await refused(registry.getTwin('node-nobody'), 'DeviceNotFoundError', 404);
  await refused(registry.delete('node-nobody'), 'DeviceNotFoundError', 404);
  await refused(registry.create({ deviceId: 'no spaces' }), 'ArgumentError', 400);
  await refused(registry.create({ deviceId: 'node-bad', status: 'asleep' }), 'ArgumentError', 400);
});

test('list and statistics', async () => {
  const { responseBody: before } = await registry.getRegistryStatistics();
  await registry.create({ deviceId: 'node-registry-disabled', status: 'disabled' });
  const { responseBody: devices } = await registry.list();
  const listed = devices.map((device) => device.deviceId);
  assert.ok(listed.includes(id) && listed.includes('node-registry-disabled'), listed.join());
  assert.equal((await manager.getDevices(1)).length, 1);

  const { responseBody: statistics } = await registry.getRegistryStatistics();
  assert.equal(statistics.totalDeviceCount, before.totalDeviceCount + 1);
  assert.equal(statistics.disabledDeviceCount, before.disabledDeviceCount + 1);
  assert.equal(statistics.enabledDeviceCount, before.enabledDeviceCount);
  assert.equal(typeof (await manager.getServiceStatistics()).connectedDeviceCount, 'number');
  await registry.delete('node-registry-disabled');
});

test('bulk', async () => {
  const devices = ['node-bulk-1', 'node-bulk-2'].map((deviceId) => ({ deviceId }));
  const { responseBody: added } = await registry.addDevices(devices);
  assert.equal(added.isSuccessful, true);
  const again = await refused(registry.addDevices(devices.slice(1)), 'ArgumentError', 400);
  assert.equal(again.isSuccessful, false);
  assert.equal(again.errors[0].deviceId, 'node-bulk-2');
  assert.equal((await registry.updateDevices(devices.map((device) => ({ ...device, status: 'disabled' })), true)).responseBody.isSuccessful, true);
  assert.equal((await registry.get('node-bulk-1')).responseBody.status, 'disabled');
  assert.equal((await registry.removeDevices(devices, true)).responseBody.isSuccessful, true);
  await refused(registry.get('node-bulk-1'), 'DeviceNotFoundError', 404);
});

test('twin', async () => {
  const { responseBody: twin } = await registry.getTwin(id);
  assert.equal(twin.deviceId, id);
  assert.equal(twin.properties.desired.$version, 1);
  assert.equal(twin.properties.reported.$version, 1);

  const { responseBody: updated } = await registry.updateTwin(
    id, { tags: { site: 'harbour', berth: 7 }, properties: { desired: { interval: 5 } } }, twin.etag);
  assert.deepEqual(updated.tags, { site: 'harbour', berth: 7 });
  assert.equal(updated.properties.desired.interval, 5);
  assert.equal(updated.properties.desired.$version, 2);
  assert.notEqual(updated.etag, twin.etag);
  await refused(registry.updateTwin(id, { tags: { berth: 8 } }, twin.etag), 'InvalidEtagError', 412);

  const { responseBody: removed } = await registry.updateTwin(id, { tags: { berth: null } }, '*');
  assert.deepEqual(removed.tags, { site: 'harbour' });

  const replaced = await manager.replaceTwin(id, { tags: { site: 'quay' }, properties: { desired: { mode: 'night' } } });
  assert.deepEqual(replaced.tags, { site: 'quay' });
  assert.equal(replaced.properties.desired.mode, 'night');
  assert.equal(replaced.properties.desired.interval, undefined);
  assert.equal(replaced.properties.desired.$version, 3);

  await refused(registry.updateTwin(id, { properties: { desired: { text: 'x'.repeat(5000) } } }, '*'), 'ArgumentError', 400);
});

test('delete', async () => {
  await registry.delete(id);
  await refused(registry.get(id), 'DeviceNotFoundError', 404);
  await refused(registry.getTwin(id), 'DeviceNotFoundError', 404);
});
