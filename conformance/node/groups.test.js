// Enrollment groups and symmetric keys, managed with Azure's Node service client
// azure-iot-provisioning-service.
'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { provisioning, refused } = require('./berth');
const { authority } = require('./factory');

const byKey = (enrollmentGroupId, properties = {}) => ({ enrollmentGroupId, attestation: { type: 'symmetricKey', symmetricKey: {} }, ...properties });

test('a group by key: create, get, update, delete', async () => {
  const { responseBody: created } = await provisioning.createOrUpdateEnrollmentGroup(byKey('node-keys', { initialTwin: { tags: { site: 'harbour' } } }));
  assert.equal(created.provisioningStatus, 'enabled');
  assert.equal(Buffer.from(created.attestation.symmetricKey.primaryKey, 'base64').length, 64);

  const { responseBody: read } = await provisioning.getEnrollmentGroup('node-keys');
  assert.equal(read.attestation.type, 'symmetricKey');
  assert.equal(read.attestation.symmetricKey?.primaryKey, undefined);
  const { responseBody: mechanism } = await provisioning.getEnrollmentGroupAttestationMechanism('node-keys');
  assert.deepEqual(mechanism.symmetricKey, created.attestation.symmetricKey);

  // What was read has no keys, and is written back: they stay.
  read.provisioningStatus = 'disabled';
  const { responseBody: updated } = await provisioning.createOrUpdateEnrollmentGroup(read);
  assert.equal(updated.provisioningStatus, 'disabled');
  assert.deepEqual(updated.attestation.symmetricKey, created.attestation.symmetricKey);
  await refused(provisioning.createOrUpdateEnrollmentGroup(read), 'InvalidEtagError', 412);
  await refused(provisioning.deleteEnrollmentGroup('node-keys', created.etag), 'InvalidEtagError', 412);

  await provisioning.deleteEnrollmentGroup('node-keys', updated.etag);
  const gone = await refused(provisioning.getEnrollmentGroup('node-keys'), 'DeviceNotFoundError', 404).catch((error) => error);
  assert.equal(gone.errorCode ?? 404204, 404204);
});

test('a group by authority', async () => {
  const attestation = (certificate) => ({ type: 'x509', x509: { signingCertificates: { primary: { certificate } } } });
  const { responseBody: created } = await provisioning.createOrUpdateEnrollmentGroup({ enrollmentGroupId: 'node-authority', attestation: attestation(authority('Node factory')) });
  assert.equal(created.attestation.x509.signingCertificates.primary.info.subjectName, 'CN=Node factory');
  created.provisioningStatus = 'disabled';
  const { responseBody: updated } = await provisioning.createOrUpdateEnrollmentGroup(created); // without the certificate
  assert.deepEqual(updated.attestation, created.attestation);
  const refusal = await refused(provisioning.createOrUpdateEnrollmentGroup({ enrollmentGroupId: 'node-none', attestation: attestation('hello') }), 'ArgumentError', 400);
  assert.match(refusal.message, /no certificate/);
  await provisioning.deleteEnrollmentGroup('node-authority');
});

test('query, page by page', async () => {
  const ids = ['node-query-1', 'node-query-2', 'node-query-3'];
  for (const id of ids) await provisioning.createOrUpdateEnrollmentGroup(byKey(id));
  const query = provisioning.createEnrollmentGroupQuery({ query: 'SELECT * FROM enrollmentGroups' }, 2);
  const found = [];
  while (query.hasMoreResults) {
    const { responseBody: page, httpResponse } = await query.next(query.continuationToken);
    assert.ok(page.length <= 2, 'a page has at most two');
    assert.equal(httpResponse.headers['x-ms-item-type'], 'enrollmentGroup');
    found.push(...page.map((group) => group.enrollmentGroupId));
  }
  assert.deepEqual(found, ids);

  const records = provisioning.createEnrollmentGroupDeviceRegistrationStateQuery({ query: 'SELECT * FROM enrollmentGroups' }, ids[0], 10);
  assert.deepEqual((await records.next()).responseBody, []);
  for (const id of ids) await provisioning.deleteEnrollmentGroup(id);
});

test('an individual enrollment by key', async () => {
  const { responseBody: created } = await provisioning.createOrUpdateIndividualEnrollment({ registrationId: 'node-key', attestation: { type: 'symmetricKey', symmetricKey: {} } });
  assert.equal(Buffer.from(created.attestation.symmetricKey.secondaryKey, 'base64').length, 64);
  const { responseBody: read } = await provisioning.getIndividualEnrollment('node-key');
  assert.equal(read.attestation.symmetricKey?.primaryKey, undefined);
  const { responseBody: mechanism } = await provisioning.getIndividualEnrollmentAttestationMechanism('node-key');
  assert.deepEqual(mechanism.symmetricKey, created.attestation.symmetricKey);
  const short = { registrationId: 'node-short', attestation: { type: 'symmetricKey', symmetricKey: { primaryKey: 'c2hvcnQ=', secondaryKey: 'c2hvcnQ=' } } };
  assert.match((await refused(provisioning.createOrUpdateIndividualEnrollment(short), 'ArgumentError', 400)).message, /16 to 64 bytes/);
  await provisioning.deleteIndividualEnrollment('node-key');
});
