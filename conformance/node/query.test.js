// Queries of twins with Azure's Node service client azure-iothub: its iterator over
// pages, the item types that it tells apart, and what IoT Explorer and the CLI of Azure
// ask for.
'use strict';

const assert = require('node:assert/strict');
const { after, before, test } = require('node:test');
const { refused, registry } = require('./berth');

const ids = ['node-query-1', 'node-query-2', 'node-query-3'];

before(async () => {
  for (const [i, deviceId] of ids.entries()) {
    await registry.create({ deviceId, capabilities: { iotEdge: i === 2 } });
    await registry.updateTwin(deviceId, { tags: { site: i === 0 ? 'Lyon' : 'Paris', floor: i } }, '*');
  }
  await registry.addModule({ deviceId: ids[0], moduleId: 'camera' });
});

after(async () => {
  for (const id of ids) await registry.delete(id);
});

/** Reads all pages of a query as twins. */
async function twins(text, pageSize) {
  const query = registry.createQuery(text, pageSize);
  const found = [];
  while (query.hasMoreResults) {
    const { result } = await query.nextAsTwin();
    assert.ok(result.length <= (pageSize || 100));
    found.push(...result);
  }
  return found;
}

/** Reads all pages of a query as they are. next() goes on only from a token that it is given. */
async function rows(text, pageSize) {
  const query = registry.createQuery(text, pageSize);
  const found = [];
  while (query.hasMoreResults) found.push(...(await query.next(query.continuationToken)).result);
  return found;
}

test('twins, page by page', async () => {
  const text = "SELECT * FROM devices WHERE STARTSWITH(deviceId, 'node-query-') AND tags.floor >= 0";
  for (const pageSize of [1, 2, undefined]) {
    const found = await twins(text, pageSize);
    assert.deepEqual(found.map((twin) => twin.deviceId), ids);
    assert.equal(found[1].tags.site, 'Paris');
    assert.equal(found[1].properties.desired.$version, 1);
  }
});

test('the last page has no continuation', async () => {
  const query = registry.createQuery("SELECT * FROM devices WHERE tags.site = 'Paris' AND tags.floor > 0", 2);
  assert.equal((await query.nextAsTwin()).result.length, 2);
  assert.equal(query.hasMoreResults, false);
});

test('members, aggregates and modules', async () => {
  assert.deepEqual(await rows("SELECT deviceId AS id, tags.site FROM devices WHERE deviceId IN ['node-query-2']"),
    [{ id: ids[1], site: 'Paris' }]);
  assert.deepEqual(await rows("SELECT tags.site AS site, COUNT() AS n, MAX(tags.floor) AS top FROM devices " +
    "WHERE STARTSWITH(deviceId, 'node-query-') GROUP BY tags.site", 1),
  [{ site: 'Lyon', n: 1, top: 0 }, { site: 'Paris', n: 2, top: 2 }]);
  const modules = await twins("select * from devices.modules where devices.deviceId = 'node-query-1'");
  assert.deepEqual(modules.map((twin) => twin.moduleId), ['camera']);
  const [counted] = await rows('SELECT COUNT() AS numberOfDevices FROM devices');
  assert.ok(counted.numberOfDevices >= 3);
});

test('what IoT Explorer and az iot hub ask for', async () => {
  const [row] = await rows(`SELECT deviceId as DeviceId,
    status as Status,
    lastActivityTime as LastActivityTime,
    statusUpdatedTime as StatusUpdatedTime,
    authenticationType as AuthenticationType,
    cloudToDeviceMessageCount as CloudToDeviceMessageCount,
    connectionState as ConnectionState,
    capabilities.iotEdge as IotEdge,
    modelId as ModelId FROM devices WHERE STARTSWITH(devices.deviceId, 'node-query-1')`);
  assert.deepEqual(row, { DeviceId: ids[0], Status: 'enabled', LastActivityTime: '0001-01-01T00:00:00Z',
    AuthenticationType: 'sas', CloudToDeviceMessageCount: 0, ConnectionState: 'Disconnected', IotEdge: false, ModelId: '' });
  const [edge] = await twins("select * from devices where capabilities.iotEdge = true and STARTSWITH(deviceId, 'node-query')");
  const children = await rows(`select deviceId from devices where array_contains(parentScopes, '${edge.deviceScope}')`);
  assert.deepEqual(children, []);
});

test('a query that cannot be read', async () => {
  const error = await refused(registry.createQuery("SELECT * FROM devices WHERE tags.a LIKE 'x'").next(), 'ArgumentError', 400);
  assert.match(error.Message, /^ErrorCode:ArgumentInvalid;.*line 1, column 36/);
});
