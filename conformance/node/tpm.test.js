// A device with a TPM on Azure's Node SDK: provisioning over HTTPS, twice over the
// same transport, then telemetry over MQTT. The TPM is swtpm behind the socket SWTPM;
// the SDK knows only the kernel's device and Microsoft's simulator.
'use strict';

const assert = require('node:assert/strict');
const net = require('node:net');
const { test } = require('node:test');
const { promisify } = require('node:util');
const { Client, Message } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');
const { ProvisioningDeviceClient } = require('azure-iot-provisioning-device');
const { Http } = require('azure-iot-provisioning-device-http');
const { TpmAuthenticationProvider, TpmSecurityClient } = require('azure-iot-security-tpm');
const { Tpm } = require('tss.js');
const { provisioning, registry, telemetry } = require('./berth');

const { PROVISIONING_HOST, PROVISIONING_IDSCOPE, SWTPM } = process.env;

// TpmSocket carries commands to a TPM as tss.js wants it: one at a time, each
// answer with its length in the bytes from the third to the sixth.
class TpmSocket {
  connect(done) {
    this.socket = net.connect(SWTPM, () => done(null));
    return null;
  }

  dispatchCommand(command, done) {
    const fragments = [];
    const take = (fragment) => {
      fragments.push(fragment);
      const answer = Buffer.concat(fragments);
      if (answer.length < 6 || answer.length < answer.readUInt32BE(2)) return;
      this.socket.off('data', take);
      setImmediate(done, null, answer);
    };
    this.socket.on('data', take);
    this.socket.write(command);
  }

  close() { this.socket.end(); }
}

test('TPM: provisioning over HTTPS and telemetry', async (t) => {
  const tpm = new Tpm();
  tpm.device = new TpmSocket();
  const security = new TpmSecurityClient(undefined, tpm);
  const ask = (name) => promisify(security[name].bind(security))();
  const endorsementKey = (await ask('getEndorsementKey')).toString('base64');
  t.after(() => tpm.device.close());
  const registrationId = await ask('getRegistrationId');

  await provisioning.createOrUpdateIndividualEnrollment({ registrationId, attestation: { type: 'tpm', tpm: { endorsementKey } } });
  const { responseBody: mechanism } = await provisioning.getIndividualEnrollmentAttestationMechanism(registrationId);
  assert.deepEqual(mechanism.tpm.endorsementKey, endorsementKey);
  t.after(async () => {
    await provisioning.deleteIndividualEnrollment(registrationId);
    await provisioning.deleteDeviceRegistrationState(registrationId);
    await registry.delete(registrationId);
  });

  // The second time the transport begins with the token of the first.
  const transport = new Http();
  const register = () => ProvisioningDeviceClient.create(PROVISIONING_HOST, PROVISIONING_IDSCOPE, transport, security).register();
  await register();
  const { registrationState: state } = await register();
  assert.equal(state.deviceId, registrationId);
  assert.equal(state.status, 'assigned');

  const authentication = TpmAuthenticationProvider.fromTpmSecurityClient(state.deviceId, state.assignedHub, security);
  const device = Client.fromAuthenticationProvider(authentication, Mqtt);
  await device.open();
  await device.sendEvent(new Message('{"sealed":true}'));
  const [received] = await telemetry(state.deviceId, 1);
  assert.match(JSON.stringify(received.body), /sealed/);
  await device.close();
  authentication.stop();
});
