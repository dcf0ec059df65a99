// Automatic device management with Azure's Node service client azure-iothub.
'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { refused, registry } = require('./berth');

const id = 'node-configuration';
const device = 'node-configured';
const wanted = {
  id,
  schemaVersion: '1.0',
  labels: { stage: 'test' },
  content: { deviceContent: { 'properties.desired.fan': { speed: 3 } } },
  targetCondition: `deviceId='${device}'`,
  priority: 10,
  metrics: { queries: { silent: "SELECT deviceId FROM devices WHERE deviceId = 'node-configured'" } },
};

// Evaluation goes on in the background, as in Azure.
async function until(happened) {
  for (let i = 0; i < 200; i++) {
    const found = await happened();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('it did not happen within ten seconds');
}

test('a configuration is created, applied, updated and removed', async () => {
  await registry.create({ deviceId: device });
  const { responseBody: created } = await registry.addConfiguration(wanted);
  assert.equal(created.priority, 10);
  assert.deepEqual(created.labels, wanted.labels);
  await refused(registry.addConfiguration(wanted), 'DeviceAlreadyExistsError', 409);

  const counted = await until(async () => {
    const { responseBody: found } = await registry.getConfiguration(id);
    return found.metrics.results.silent === 1 && found;
  });
  assert.deepEqual(counted.systemMetrics.results, { targetedCount: 1, appliedCount: 1 });
  const { responseBody: twin } = await registry.getTwin(device);
  assert.deepEqual(twin.properties.desired.fan.speed, 3);
  assert.deepEqual(twin.configurations, { [id]: { status: 'Applied' } });

  const { responseBody: all } = await registry.getConfigurations();
  assert.ok(all.some((one) => one.id === id));

  const { responseBody: updated } = await registry.updateConfiguration({ ...counted, priority: 20 });
  assert.equal(updated.priority, 20);
  await refused(registry.updateConfiguration({ ...counted, priority: 30 }), 'InvalidEtagError', 412);
  const { responseBody: forced } = await registry.updateConfiguration({ ...counted, priority: 30 }, true);
  assert.equal(forced.priority, 30);

  await registry.removeConfiguration(id);
  const gone = await refused(registry.getConfiguration(id), 'Error', 404);
  assert.match(gone.Message, /^ErrorCode:ConfigurationNotFound;/);
  const { responseBody: left } = await registry.getTwin(device);
  assert.equal(left.properties.desired.fan.speed, 3); // as in Azure
  await registry.delete(device);
});

test('what is no configuration', async () => {
  for (const [change, code] of [
    [{ id: 'Node' }, 'ArgumentInvalid'],
    [{ targetCondition: 'tags.site =' }, 'InvalidConfigurationTargetCondition'],
    [{ content: { deviceContent: { 'tags.site': 'A' } } }, 'InvalidConfigurationContent'],
    [{ metrics: { queries: { a: 'SELECT' } } }, 'InvalidConfigurationCustomMetricsQuery'],
  ]) {
    const answer = await refused(registry.addConfiguration({ ...wanted, ...change }), 'ArgumentError', 400);
    assert.match(answer.Message, new RegExp(`^ErrorCode:${code};`));
  }
});

test('content is applied to one IoT Edge device', async () => {
  const content = { modulesContent: { $edgeAgent: { 'properties.desired': { modules: {} } }, sensor: { 'properties.desired': { a: 1 } } } };
  await registry.create({ deviceId: 'node-edge', capabilities: { iotEdge: true } });
  await registry.applyConfigurationContentOnDevice('node-edge', content);
  const { responseBody: modules } = await registry.getModulesOnDevice('node-edge');
  assert.deepEqual(modules.map((module) => module.moduleId).sort(), ['$edgeAgent', '$edgeHub', 'sensor']);
  const { responseBody: twin } = await registry.getModuleTwin('node-edge', 'sensor');
  assert.equal(twin.properties.desired.a, 1);
  await registry.create({ deviceId: 'node-leaf' });
  await refused(registry.applyConfigurationContentOnDevice('node-leaf', content), 'ArgumentError', 400);
  await registry.delete('node-edge');
  await registry.delete('node-leaf');
});
