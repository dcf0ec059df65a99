// Individual enrollments and registration states, managed with Azure's Node
// service client azure-iot-provisioning-service.
'use strict';

const assert = require('node:assert/strict');
const { after, test } = require('node:test');
const { Mqtt } = require('azure-iot-provisioning-device-mqtt');
const { ProvisioningDeviceClient } = require('azure-iot-provisioning-device');
const { X509Security } = require('azure-iot-security-x509');
const { certificate, enrollment, hubHost, provisioning, refused, registry } = require('./berth');

const id = 'node-enrolled';

test('create, get, update', async () => {
  const { responseBody: created } = await provisioning.createOrUpdateIndividualEnrollment(enrollment(id, {
    deviceId: 'node-device',
    initialTwin: { tags: { site: 'harbour' }, properties: { desired: { interval: 5 } } },
    optionalDeviceInformation: { model: 'A1' },
  }));
  assert.equal(created.registrationId, id);
  assert.equal(created.provisioningStatus, 'enabled');
  assert.ok(created.etag && created.createdDateTimeUtc && created.lastUpdatedDateTimeUtc);
  const { info } = created.attestation.x509.clientCertificates.primary;
  assert.equal(info.subjectName, `CN=${id}`);
  assert.match(info.sha256Thumbprint, /^[0-9A-F]{64}$/);

  const { responseBody: read } = await provisioning.getIndividualEnrollment(id);
  assert.deepEqual(read, created);
  assert.deepEqual(read.initialTwin, { tags: { site: 'harbour' }, properties: { desired: { interval: 5 } } });
  assert.deepEqual(read.optionalDeviceInformation, { model: 'A1' });

  // What was read is changed and written back as it is: the certificate stays.
  read.provisioningStatus = 'disabled';
  const { responseBody: updated } = await provisioning.createOrUpdateIndividualEnrollment(read);
  assert.equal(updated.provisioningStatus, 'disabled');
  assert.notEqual(updated.etag, created.etag);
  assert.deepEqual(updated.attestation, created.attestation);

  const conflict = await refused(provisioning.createOrUpdateIndividualEnrollment(read), 'InvalidEtagError', 412);
  assert.equal(Math.floor(conflict.errorCode / 1000), 412);
  assert.ok(conflict.message && conflict.trackingId && conflict.timestampUtc);
  await refused(provisioning.deleteIndividualEnrollment(id, created.etag), 'InvalidEtagError', 412);
  updated.provisioningStatus = 'enabled';
  await provisioning.createOrUpdateIndividualEnrollment(updated);
});

test('attestation mechanism', async () => {
  const { responseBody: mechanism } = await provisioning.getIndividualEnrollmentAttestationMechanism(id);
  assert.equal(mechanism.type, 'x509');
  assert.equal(mechanism.x509.clientCertificates.primary.info.subjectName, `CN=${id}`);
});

test('what cannot be enrolled is refused with its reason', async () => {
  const invalid = async (body, reason) => {
    const error = await refused(provisioning.createOrUpdateIndividualEnrollment(body), 'ArgumentError', 400);
    assert.match(error.message, reason);
  };
  const withCertificate = (text) => ({
    registrationId: 'node-invalid',
    attestation: { type: 'x509', x509: { clientCertificates: { primary: { certificate: text } } } },
  });
  await invalid(withCertificate('not a certificate'), /certificate/i);
  await invalid(withCertificate(certificate(id).key), /private key/i);
  await invalid({ ...enrollment(id), registrationId: 'node/invalid' }, /registration id/i);
  await invalid({ ...enrollment(id), registrationId: 'node-invalid', attestation: undefined }, /attestation/i);
  await refused(provisioning.getIndividualEnrollment('node-invalid'), 'Error', 404);
});

test('query in pages', async (t) => {
  const ids = ['node-unknown', 'node-wrong', 'node-disabled'];
  for (const each of ids) {
    await provisioning.createOrUpdateIndividualEnrollment(enrollment(each));
    t.after(() => provisioning.deleteIndividualEnrollment(each));
  }
  const query = provisioning.createIndividualEnrollmentQuery({ query: 'SELECT * FROM enrollments' }, 2);
  const found = [];
  while (query.hasMoreResults) {
    const { responseBody: page, httpResponse } = await query.next(query.continuationToken); // without it, the first page again
    assert.ok(page.length <= 2, 'a page has at most two');
    assert.equal(httpResponse.headers['x-ms-item-type'], 'enrollment');
    found.push(...page.map((each) => each.registrationId));
  }
  for (const each of [id, ...ids]) assert.equal(found.filter((name) => name === each).length, 1, each);
});

test('bulk', async () => {
  // The promise form of this call never settles in the SDK, its callback form does.
  const run = (mode, enrollments) => new Promise((resolve, reject) => {
    provisioning.runBulkEnrollmentOperation({ mode, enrollments }, (error, result) => error ? reject(error) : resolve(result));
  });
  const enrollments = ['node-wrong', 'node-disabled'].map((each) => enrollment(each));
  assert.equal((await run('create', enrollments)).isSuccessful, true);
  const again = await run('create', enrollments);
  assert.equal(again.isSuccessful, false);
  assert.deepEqual(again.errors.map((error) => error.registrationId), ['node-wrong', 'node-disabled']);
  assert.equal((await run('delete', enrollments)).isSuccessful, true);
  await refused(provisioning.getIndividualEnrollment('node-wrong'), 'Error', 404);
});

test('registration state', async () => {
  await refused(provisioning.getDeviceRegistrationState(id), 'Error', 404);
  const device = ProvisioningDeviceClient.create(
    process.env.PROVISIONING_HOST, process.env.PROVISIONING_IDSCOPE, new Mqtt(), new X509Security(id, certificate(id)));
  await device.register();

  const { responseBody: state } = await provisioning.getDeviceRegistrationState(id);
  assert.equal(state.registrationId, id);
  assert.equal(state.deviceId, 'node-device');
  assert.equal(state.assignedHub, hubHost);
  assert.equal(state.status, 'assigned');
  assert.equal(state.substatus, 'initialAssignment');
  assert.ok(state.etag && state.createdDateTimeUtc && state.lastUpdatedDateTimeUtc);
  const { responseBody: enrolled } = await provisioning.getIndividualEnrollment(id);
  assert.equal(enrolled.registrationState.deviceId, 'node-device');

  const { responseBody: twin } = await registry.getTwin('node-device');
  assert.deepEqual(twin.tags, { site: 'harbour' });
  assert.equal(twin.properties.desired.interval, 5);

  await refused(provisioning.deleteDeviceRegistrationState(id, '"never"'), 'InvalidEtagError', 412);
  await provisioning.deleteDeviceRegistrationState(state);
  await refused(provisioning.getDeviceRegistrationState(id), 'Error', 404);
});

test('delete', async () => {
  const { responseBody: read } = await provisioning.getIndividualEnrollment(id);
  await provisioning.deleteIndividualEnrollment(read);
  const missing = await refused(provisioning.getIndividualEnrollment(id), 'Error', 404);
  assert.equal(missing.errorCode, 404201);
});

after(() => registry.delete('node-device'));
