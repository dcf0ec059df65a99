// What the tests share: the two service clients, certificates, telemetry.
'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const https = require('node:https');
const path = require('node:path');
const { ConnectionString, Registry, SharedAccessSignature } = require('azure-iothub');
const { ProvisioningServiceClient } = require('azure-iot-provisioning-service');

const { CERTIFICATES, IOTHUB_CONNECTION_STRING, PROVISIONING_CONNECTION_STRING } = process.env;
const { HostName, SharedAccessKeyName, SharedAccessKey } = ConnectionString.parse(IOTHUB_CONNECTION_STRING);

exports.hubHost = HostName;
exports.registry = Registry.fromConnectionString(IOTHUB_CONNECTION_STRING);
exports.provisioning = ProvisioningServiceClient.fromConnectionString(PROVISIONING_CONNECTION_STRING);

// certificate returns the certificate and key that the caller of the tests made
// under this name.
exports.certificate = (name) => ({
  cert: fs.readFileSync(path.join(CERTIFICATES, `${name}.pem`), 'utf8'),
  key: fs.readFileSync(path.join(CERTIFICATES, `${name}.key.pem`), 'utf8'),
});

// enrollment is an individual enrollment with that certificate.
exports.enrollment = (registrationId, properties = {}) => ({
  registrationId,
  attestation: { type: 'x509', x509: { clientCertificates: { primary: { certificate: exports.certificate(registrationId).cert } } } },
  ...properties,
});

// refused awaits a call that must fail with an error of this name and status,
// and returns the decoded body of the answer.
exports.refused = async (call, name, status) => {
  const error = await call.then(() => assert.fail(`${status} expected, but it was done`), (error) => error);
  assert.equal(error.response?.statusCode, status, error.stack);
  assert.equal(error.name, name, error.stack);
  return JSON.parse(error.responseBody);
};

// call makes a request of a back end that no client has, and returns the decoded answer, null
// when there is none.
exports.call = async (method, path, body) => {
  const expiry = Math.ceil(Date.now() / 1000) + 600;
  const Authorization = SharedAccessSignature.create(HostName, SharedAccessKeyName, SharedAccessKey, expiry).toString();
  const headers = { Authorization, 'Content-Type': 'application/json' };
  const response = await fetch(`https://${HostName}${path}?api-version=2021-04-12`, { method, headers, body: JSON.stringify(body) });
  const text = await response.text();
  assert.ok(response.ok, `${method} ${path}: ${response.status} ${text}`);
  return text === '' ? null : JSON.parse(text);
};

// telemetry waits for so many messages of the device from the hub's telemetry
// log.
exports.telemetry = async (deviceId, count) => {
  const expiry = Math.ceil(Date.now() / 1000) + 600;
  const token = SharedAccessSignature.create(HostName, SharedAccessKeyName, SharedAccessKey, expiry).toString();
  const query = new URLSearchParams({ 'api-version': '2021-04-12', from: 'earliest', device: deviceId, max: count });
  const options = { headers: { Authorization: token }, timeout: 30_000 };
  return new Promise((resolve, reject) => {
    https.get(`https://${HostName}/berth/hub/telemetry?${query}`, options, async (response) => {
      const lines = [];
      for await (const chunk of response.setEncoding('utf8')) lines.push(chunk);
      const text = lines.join('');
      if (response.statusCode !== 200) return reject(new Error(`${response.statusCode} ${text}`));
      resolve(text.trim().split('\n').map((line) => JSON.parse(line)));
    }).on('error', reject);
  });
};
