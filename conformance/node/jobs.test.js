// Scheduled jobs through Azure's Node service client, and a device that is called by one.
'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { JobClient } = require('azure-iothub');
const { Client } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');
const { hubHost, registry } = require('./berth');

const jobs = JobClient.fromConnectionString(process.env.IOTHUB_CONNECTION_STRING);
const later = () => new Date(Date.now() + 3600_000);

// device makes one that a job's condition finds by its tag.
const device = async (t, id, wave) => {
  const { responseBody } = await registry.create({ deviceId: id });
  t.after(() => registry.delete(id));
  await registry.updateTwin(id, { tags: { wave } }, '*');
  return responseBody.authentication.symmetricKey.primaryKey;
};

// ended waits for a job to have done what it was to do.
const ended = async (id) => {
  for (let tries = 0; tries < 200; tries++) {
    const { jobStatus: job } = await jobs.getJob(id);
    if (['completed', 'failed', 'cancelled'].includes(job.status)) return job;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return assert.fail(`the job ${id} does not end`);
};

test('twins are updated', async (t) => {
  await device(t, 'node-job-1', 'node');
  await device(t, 'node-job-2', 'other');
  const patch = { etag: '*', tags: { seen: true }, properties: { desired: { interval: 60 } } };
  const { jobStatus: queued } = await jobs.scheduleTwinUpdate('node-twins', "tags.wave = 'node'", patch);
  assert.deepEqual([queued.jobId, queued.type, queued.status], ['node-twins', 'scheduleUpdateTwin', 'queued']);
  const job = await ended('node-twins');
  assert.equal(job.status, 'completed');
  assert.deepEqual(job.deviceJobStatistics,
    { deviceCount: 1, failedCount: 0, succeededCount: 1, runningCount: 0, pendingCount: 0 });
  const { responseBody: twin } = await registry.getTwin('node-job-1');
  assert.deepEqual([twin.tags.seen, twin.properties.desired.interval], [true, 60]);
  const { responseBody: left } = await registry.getTwin('node-job-2');
  assert.equal(left.tags.seen, undefined);

  const taken = await jobs.scheduleTwinUpdate('node-twins', '*', patch).then(() => null, (error) => error);
  assert.equal(taken.response.statusCode, 409, taken.stack);
});

test('a method is called', async (t) => {
  const key = await device(t, 'node-job-3', 'methods');
  await device(t, 'node-job-4', 'methods'); // is not connected
  const client = Client.fromConnectionString(`HostName=${hubHost};DeviceId=node-job-3;SharedAccessKey=${key}`, Mqtt);
  t.after(() => client.close());
  const called = new Promise((resolve) => {
    client.onDeviceMethod('reboot', (request, response) => response.send(200, { in: 5 }, () => resolve(request.payload)));
  });
  await client.open();
  const call = { methodName: 'reboot', payload: { now: true }, responseTimeoutInSeconds: 30 };
  // What a client has subscribed to, it does not say: until then calls find nobody.
  call.connectTimeoutInSeconds = 5;
  await jobs.scheduleDeviceMethod('node-methods', "tags.wave = 'methods'", call, new Date(), 300);
  assert.deepEqual(await called, { now: true });
  const job = await ended('node-methods');
  assert.equal(job.status, 'completed');
  assert.deepEqual([job.deviceJobStatistics.succeededCount, job.deviceJobStatistics.failedCount], [1, 1]);

  const rows = registry.createQuery("SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'node-methods'");
  const { result } = await rows.next();
  const outcomes = Object.fromEntries(result.map((row) => [row.deviceId, row]));
  assert.deepEqual(outcomes['node-job-3'].outcome.deviceMethodResponse, { status: 200, payload: { in: 5 } });
  assert.equal(outcomes['node-job-4'].error.code, '404103');
});

test('a job is cancelled, and jobs are listed', async () => {
  const patch = { etag: '*', tags: { seen: true } };
  await jobs.scheduleTwinUpdate('node-later', '*', patch, later(), 60);
  const found = [];
  const query = jobs.createQuery('scheduleUpdateTwin', 'scheduled', 1);
  while (query.hasMoreResults) {
    const { result } = await query.next(query.continuationToken);
    found.push(...result.map((job) => job.jobId));
  }
  assert.ok(found.includes('node-later'), found.join());
  const { jobStatus: cancelled } = await jobs.cancelJob('node-later');
  assert.equal(cancelled.status, 'cancelled');
  const twice = await jobs.cancelJob('node-later').then(() => null, (error) => error);
  assert.equal(twice.response.statusCode, 405, twice.stack);
  const { jobStatus: none } = await jobs.getJob('node-none');
  assert.deepEqual([none.type, none.status], ['unknown', 'unknown']);
});
