// The device of the X.509 quickstart on Azure's Node SDK: it registers, then
// sends ten messages at once. Settings come from the environment variables that
// the quickstart names.
//
// TRANSPORT is mqtt, mqtt-ws or http, those with which the SDK offers X.509 and
// that Berth serves; AMQP is not served yet. A device that registered over HTTP
// goes on over MQTT.
'use strict';

const fs = require('node:fs');
const { X509Security } = require('azure-iot-security-x509');
const { ProvisioningDeviceClient } = require('azure-iot-provisioning-device');
const { Client, Message } = require('azure-iot-device');

const transports = {
  'mqtt': [require('azure-iot-provisioning-device-mqtt').Mqtt, require('azure-iot-device-mqtt').Mqtt],
  'mqtt-ws': [require('azure-iot-provisioning-device-mqtt').MqttWs, require('azure-iot-device-mqtt').MqttWs],
  'http': [require('azure-iot-provisioning-device-http').Http, require('azure-iot-device-mqtt').Mqtt],
};

async function main() {
  const { PROVISIONING_HOST, PROVISIONING_IDSCOPE, DPS_X509_REGISTRATION_ID, TRANSPORT } = process.env;
  const [ProvisioningTransport, DeviceTransport] = transports[TRANSPORT];
  const x509 = {
    cert: fs.readFileSync(process.env.X509_CERT_FILE, 'utf8'),
    key: fs.readFileSync(process.env.X509_KEY_FILE, 'utf8'),
    passphrase: process.env.PASS_PHRASE,
  };

  const security = new X509Security(DPS_X509_REGISTRATION_ID, x509);
  const provisioning = ProvisioningDeviceClient.create(
    PROVISIONING_HOST, PROVISIONING_IDSCOPE, new ProvisioningTransport(), security);
  const result = await provisioning.register();
  console.log('The complete registration result is');
  for (const value of [result.deviceId, result.assignedHub, result.substatus, result.payload ?? null]) console.log(value);
  if (result.status !== 'assigned' || result.registrationId !== DPS_X509_REGISTRATION_ID) {
    throw new Error('Can not send telemetry from the provisioned device: ' + JSON.stringify(result));
  }

  console.log('Will send telemetry from the provisioned device');
  const device = Client.fromConnectionString(
    `HostName=${result.assignedHub};DeviceId=${result.deviceId};x509=true`, DeviceTransport);
  await device.setOptions(x509);
  await device.open();
  await Promise.all(Array.from({ length: 10 }, async (_, index) => {
    console.log(`sending message #${index + 1}`);
    await device.sendEvent(new Message(`test wind speed ${index + 1}`));
    console.log(`done sending message #${index + 1}`);
  }));
  await device.close();
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
