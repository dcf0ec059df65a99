// Every operation that Azure's Node service client has, on enrollments by
// certificate, by key and by TPM. The last test says if one of them was left out.
'use strict';

const assert = require('node:assert/strict');
const { after, test } = require('node:test');
const { Http } = require('azure-iot-provisioning-device-http');
const { ProvisioningDeviceClient } = require('azure-iot-provisioning-device');
const { ProvisioningServiceClient } = require('azure-iot-provisioning-service');
const { SymmetricKeySecurityClient } = require('azure-iot-security-symmetric-key');
const { provisioning, refused, registry } = require('./berth');
const { authority, derivedKey, device, endorsementKey } = require('./factory');

const { PROVISIONING_HOST, PROVISIONING_IDSCOPE } = process.env;

const called = new Set();
const client = new Proxy(provisioning, {
  get(target, name) {
    called.add(name);
    return Reflect.get(target, name).bind(target);
  },
});

// The client has no promise of a bulk operation that ever settles, only a callback.
const bulk = (mode, enrollments) => new Promise((resolve, reject) =>
  client.runBulkEnrollmentOperation({ mode, enrollments }, (error, result) => error ? reject(error) : resolve(result)));

const succeeds = (result) => assert.deepEqual(result, { isSuccessful: true, errors: [] });
const fails = (result, ...codes) => {
  assert.equal(result.isSuccessful, false);
  assert.deepEqual(result.errors.map((error) => error.errorCode), codes);
  for (const error of result.errors) assert.ok(error.registrationId && error.errorStatus, JSON.stringify(error));
};

const all = async (query) => {
  const found = [];
  while (query.hasMoreResults) {
    const { responseBody: page } = await query.next(query.continuationToken);
    assert.ok(page.length <= 2, 'a page has at most two');
    found.push(...page);
  }
  return found;
};

// What is read of an enrollment or a group is what was written, without secrets.
const withoutSecrets = (written) => {
  const read = structuredClone(written);
  delete read.attestation.symmetricKey;
  return read;
};

const kinds = {
  'individual enrollment': {
    id: (item) => item.registrationId,
    put: (item) => client.createOrUpdateIndividualEnrollment(item),
    get: (id) => client.getIndividualEnrollment(id),
    delete: (...args) => client.deleteIndividualEnrollment(...args),
    query: () => client.createIndividualEnrollmentQuery({ query: 'SELECT * FROM enrollments' }, 2),
    mechanism: (id) => client.getIndividualEnrollmentAttestationMechanism(id),
    notFound: 404201,
    x509: (registrationId) => ({ registrationId, attestation: { type: 'x509', x509: { clientCertificates: { primary: { certificate: device(registrationId).cert } } } } }),
    symmetricKey: (registrationId) => ({ registrationId, attestation: { type: 'symmetricKey', symmetricKey: {} } }),
    tpm: (registrationId) => ({ registrationId, attestation: { type: 'tpm', tpm: { endorsementKey: endorsementKey() } } }),
  },
  'enrollment group': {
    id: (item) => item.enrollmentGroupId,
    put: (item) => client.createOrUpdateEnrollmentGroup(item),
    get: (id) => client.getEnrollmentGroup(id),
    delete: (...args) => client.deleteEnrollmentGroup(...args),
    query: () => client.createEnrollmentGroupQuery({ query: 'SELECT * FROM enrollmentGroups' }, 2),
    mechanism: (id) => client.getEnrollmentGroupAttestationMechanism(id),
    notFound: 404204,
    x509: (enrollmentGroupId) => ({ enrollmentGroupId, attestation: { type: 'x509', x509: { signingCertificates: { primary: { certificate: authority(enrollmentGroupId) } } } } }),
    symmetricKey: (enrollmentGroupId) => ({ enrollmentGroupId, attestation: { type: 'symmetricKey', symmetricKey: {} } }),
  },
};

for (const [name, kind] of Object.entries(kinds)) {
  for (const type of ['x509', 'symmetricKey', 'tpm'].filter((type) => kind[type])) {
    test(`${name}, ${type}`, async () => {
      const id = `node-op-${name.split(' ')[0]}-${type.toLowerCase()}`;
      const { responseBody: created, httpResponse } = await kind.put(kind[type](id));
      assert.equal(kind.id(created), id);
      assert.equal(created.attestation.type, type);
      assert.equal(httpResponse.headers.etag, created.etag);
      const { responseBody: read } = await kind.get(id);
      assert.deepEqual(withoutSecrets(read), withoutSecrets(created));
      const { responseBody: mechanism } = await kind.mechanism(id);
      const shown = structuredClone(mechanism);
      delete shown.x509?.signingCertificates?.primary.certificate; // whole, so that the group can be made elsewhere
      assert.deepEqual(shown, created.attestation);

      // Who writes with an old ETag is refused, and who writes without one can only create.
      const { responseBody: updated } = await kind.put({ ...read, provisioningStatus: 'disabled' });
      assert.deepEqual([updated.provisioningStatus, updated.createdDateTimeUtc], ['disabled', created.createdDateTimeUtc]);
      assert.notEqual(updated.etag, created.etag);
      assert.equal((await refused(kind.put(read), 'InvalidEtagError', 412)).errorCode, 412001);
      const { etag, ...unconditional } = read;
      assert.equal((await refused(kind.put(unconditional), 'DeviceAlreadyExistsError', 409)).errorCode, 409202);
      assert.notEqual((await kind.put({ ...unconditional, etag: '*' })).responseBody.etag, updated.etag);
      assert.deepEqual((await kind.mechanism(id)).responseBody, mechanism, 'the credentials stay');

      assert.deepEqual((await all(kind.query())).map(kind.id).filter((each) => each === id), [id]);
      await refused(kind.delete(id, etag), 'InvalidEtagError', 412);
      await refused(kind.delete(updated), 'InvalidEtagError', 412);
      await kind.delete((await kind.get(id)).responseBody);
      for (const operation of [kind.get, kind.mechanism, kind.delete]) {
        const error = await operation(id).then(() => assert.fail('it is still there'), (error) => error);
        assert.equal(error.response.statusCode, 404);
        assert.equal(JSON.parse(error.responseBody).errorCode, kind.notFound);
      }
    });
  }
}

test('bulk: create, update, updateIfMatchETag, delete', async () => {
  const { x509, symmetricKey, get } = kinds['individual enrollment'];
  const items = [x509('node-bulk-1'), symmetricKey('node-bulk-2'), symmetricKey('node-bulk-3')];
  const read = async () => Promise.all(items.map(async (item) => (await get(item.registrationId)).responseBody));
  succeeds(await bulk('create', items));
  fails(await bulk('create', items), 409202, 409202, 409202);

  const before = await read();
  succeeds(await bulk('update', before.map(({ etag, ...item }) => ({ ...item, provisioningStatus: 'disabled' }))));
  const between = await read();
  assert.deepEqual(between.map((item) => item.provisioningStatus), ['disabled', 'disabled', 'disabled']);
  fails(await bulk('update', [{ ...symmetricKey('node-bulk-4'), etag: '"none"' }]), 412001);

  // The SDK's own spelling of the mode. One old ETag keeps only its own item back.
  fails(await bulk('updateIfMatchEtag', [between[0], before[1], between[2]].map((item) => ({ ...item, provisioningStatus: 'enabled' }))), 412001);
  assert.deepEqual((await read()).map((item) => item.provisioningStatus), ['enabled', 'disabled', 'enabled']);

  succeeds(await bulk('delete', items));
  fails(await bulk('delete', items), 404201, 404201, 404201);
});

test('registration states of a group: query, get, delete', async (t) => {
  const group = 'node-op-states';
  const { responseBody: created } = await client.createOrUpdateEnrollmentGroup(kinds['enrollment group'].symmetricKey(group));
  t.after(() => client.deleteEnrollmentGroup(group));
  const ids = ['node-state-1', 'node-state-2', 'node-state-3'];
  for (const id of ids) {
    const security = new SymmetricKeySecurityClient(id, derivedKey(created.attestation.symmetricKey.primaryKey, id));
    await ProvisioningDeviceClient.create(PROVISIONING_HOST, PROVISIONING_IDSCOPE, new Http(), security).register();
    t.after(() => registry.delete(id));
  }
  const query = () => all(client.createEnrollmentGroupDeviceRegistrationStateQuery({ query: '*' }, group, 2));
  const found = await query();
  assert.deepEqual(found.map((state) => [state.registrationId, state.status]), ids.map((id) => [id, 'assigned']));

  const { responseBody: state } = await client.getDeviceRegistrationState(ids[0]);
  assert.deepEqual(state, found[0]);
  await refused(client.deleteDeviceRegistrationState(ids[0], '"old"'), 'InvalidEtagError', 412);
  await client.deleteDeviceRegistrationState(state);
  await client.deleteDeviceRegistrationState(ids[1], found[1].etag);
  const gone = await client.getDeviceRegistrationState(ids[0]).catch((error) => error);
  assert.equal(JSON.parse(gone.responseBody).errorCode, 404202);
  assert.deepEqual((await query()).map((left) => left.registrationId), [ids[2]]);
  await client.deleteDeviceRegistrationState(ids[2]);
  assert.deepEqual(await query(), []);
});

after(() => {
  const operations = Object.getOwnPropertyNames(ProvisioningServiceClient.prototype).filter((name) => name !== 'constructor' && !name.startsWith('_'));
  assert.ok(operations.length >= 14, `the client has ${operations}`);
  assert.deepEqual(operations.filter((name) => !called.has(name)), [], 'operations that were not called');
});
