// How a refused registration or connection shows in Azure's Node device SDK.
'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { Http } = require('azure-iot-provisioning-device-http');
const { Mqtt, MqttWs } = require('azure-iot-provisioning-device-mqtt');
const { ProvisioningDeviceClient } = require('azure-iot-provisioning-device');
const { X509Security } = require('azure-iot-security-x509');
const { Client } = require('azure-iot-device');
const hub = require('azure-iot-device-mqtt');
const { certificate, enrollment, hubHost, provisioning, registry } = require('./berth');

const { PROVISIONING_HOST, PROVISIONING_IDSCOPE } = process.env;

for (const [name, Transport] of Object.entries({ Mqtt, MqttWs, Http })) {
  const refused = async (registrationId, certificateName, idScope = PROVISIONING_IDSCOPE) => {
    const client = ProvisioningDeviceClient.create(
      PROVISIONING_HOST, idScope, new Transport(), new X509Security(registrationId, certificate(certificateName)));
    const error = await client.register().then(() => assert.fail('it was admitted'), (error) => error);
    assert.equal(error.name, 'UnauthorizedError', error.stack);
    // Over MQTT the client hands on the decoded body, over HTTPS its text.
    const body = error.result ?? JSON.parse(error.responseBody);
    assert.equal(body.errorCode, 401002);
    assert.match(body.trackingId, /^[0-9a-f-]{36}$/i);
    assert.ok(body.message && body.timestampUtc);
    return body.message;
  };

  test(`${name}: unknown ID scope`, async () => {
    assert.match(await refused('node-unknown', 'node-unknown', '0neFFFFFFFF'), /ID scope/);
  });

  test(`${name}: unknown registration id`, async () => {
    await refused('node-unknown', 'node-unknown');
  });

  test(`${name}: wrong certificate`, async (t) => {
    await provisioning.createOrUpdateIndividualEnrollment(enrollment('node-wrong'));
    t.after(() => provisioning.deleteIndividualEnrollment('node-wrong'));
    await refused('node-wrong', 'node-wrong-other');
  });

  test(`${name}: disabled enrollment`, async (t) => {
    await provisioning.createOrUpdateIndividualEnrollment(enrollment('node-disabled', { provisioningStatus: 'disabled' }));
    t.after(() => provisioning.deleteIndividualEnrollment('node-disabled'));
    await refused('node-disabled', 'node-disabled');
  });
}

for (const [name, Transport] of Object.entries({ Mqtt: hub.Mqtt, MqttWs: hub.MqttWs })) {
  test(`${name}: the hub refuses a wrong key`, async (t) => {
    await registry.create({ deviceId: 'node-key' });
    t.after(() => registry.delete('node-key'));
    const client = Client.fromConnectionString(`HostName=${hubHost};DeviceId=node-key;SharedAccessKey=d3Jvbmcga2V5`, Transport);
    await assert.rejects(client.open(), /Not authorized/);
  });
}
