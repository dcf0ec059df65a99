// Every way that Azure's Node device SDK comes in: by certificate and by key, on
// an enrollment of its own and as a member of a group, over each transport. Each
// device then connects to the hub that it was given, and sends.
'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { Client, Message } = require('azure-iot-device');
const hub = require('azure-iot-device-mqtt');
const { ProvisioningDeviceClient } = require('azure-iot-provisioning-device');
const { Http } = require('azure-iot-provisioning-device-http');
const { Mqtt, MqttWs } = require('azure-iot-provisioning-device-mqtt');
const { SymmetricKeySecurityClient } = require('azure-iot-security-symmetric-key');
const { X509Security } = require('azure-iot-security-x509');
const { hubHost, provisioning, registry, telemetry } = require('./berth');
const { Factory, derivedKey, device } = require('./factory');

const { PROVISIONING_HOST, PROVISIONING_IDSCOPE } = process.env;
const initialTwin = { tags: { site: 'harbour' }, properties: { desired: { interval: 5 } } };
const factory = new Factory('Node works');

const byCertificate = (certificate) => ({
  certificate,
  security: (id) => new X509Security(id, certificate),
});
const byKey = (key) => ({
  key,
  security: (id) => new SymmetricKeySecurityClient(id, key),
});

// Each enrolls a device, has the enrollment removed after the test, and returns
// what the device comes in with.
const ways = {
  'individual, certificate': async (t, registrationId) => {
    const own = device(registrationId);
    await enroll(t, registrationId, { type: 'x509', x509: { clientCertificates: { primary: { certificate: own.cert } } } });
    return byCertificate(own);
  },
  'individual, key': async (t, registrationId) => {
    const { symmetricKey } = await enroll(t, registrationId, { type: 'symmetricKey', symmetricKey: {} });
    return byKey(symmetricKey.primaryKey);
  },
  'group, certificates': async (t, registrationId, group) => {
    await enrollGroup(t, group, { type: 'x509', x509: { signingCertificates: { primary: { certificate: factory.root } } } });
    return byCertificate(factory.device(registrationId));
  },
  'group, derived key': async (t, registrationId, group) => {
    const { symmetricKey } = await enrollGroup(t, group, { type: 'symmetricKey', symmetricKey: {} });
    return byKey(derivedKey(symmetricKey.secondaryKey, registrationId));
  },
};

async function enroll(t, registrationId, attestation) {
  const { responseBody } = await provisioning.createOrUpdateIndividualEnrollment({ registrationId, attestation, initialTwin });
  t.after(() => provisioning.deleteIndividualEnrollment(registrationId));
  return responseBody.attestation;
}

async function enrollGroup(t, enrollmentGroupId, attestation) {
  const { responseBody } = await provisioning.createOrUpdateEnrollmentGroup({ enrollmentGroupId, attestation, initialTwin });
  t.after(() => provisioning.deleteEnrollmentGroup(enrollmentGroupId));
  return responseBody.attestation;
}

for (const [protocol, Transport] of Object.entries({ Mqtt, MqttWs, Http })) {
  for (const [i, [way, enrolled]] of Object.entries(ways).entries()) {
    test(`${protocol}: ${way}`, async (t) => {
      const id = `node-${protocol.toLowerCase()}-${i}`;
      const group = way.startsWith('group') ? `${id}-group` : undefined;
      const credentials = await enrolled(t, id, group);

      const result = await ProvisioningDeviceClient.create(PROVISIONING_HOST, PROVISIONING_IDSCOPE, new Transport(), credentials.security(id)).register();
      t.after(() => registry.delete(id));
      t.after(() => provisioning.deleteDeviceRegistrationState(id));
      assert.equal(result.status ?? 'assigned', 'assigned');
      assert.equal(result.assignedHub, hubHost);
      assert.equal(result.deviceId, id);
      assert.equal(result.substatus, 'initialAssignment');
      const { responseBody: state } = await provisioning.getDeviceRegistrationState(id);
      assert.equal(state.status, 'assigned');

      await sends(t, result, credentials);
      const [message] = await telemetry(id, 1);
      assert.deepEqual(message.body, { way });
      assert.deepEqual((await registry.getTwin(id)).responseBody.tags, initialTwin.tags);
    });
  }
}

// sends connects the device to its hub with what it registered with.
async function sends(t, { assignedHub, deviceId }, { certificate, key }) {
  const secret = certificate ? 'x509=true' : `SharedAccessKey=${key}`;
  const client = Client.fromConnectionString(`HostName=${assignedHub};DeviceId=${deviceId};${secret}`, hub.Mqtt);
  if (certificate) await client.setOptions(certificate);
  await client.open();
  t.after(() => client.close());
  const twin = await client.getTwin();
  assert.equal(twin.properties.desired.interval, 5);
  const message = new Message(JSON.stringify({ way: t.name.split(': ')[1] }));
  message.contentType = 'application/json';
  message.contentEncoding = 'utf-8';
  await client.sendEvent(message);
}
