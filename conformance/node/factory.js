// A factory that makes devices: a root authority, one in between that signs the
// devices' certificates, and the keys that are derived from a group's.
'use strict';

const { execFileSync } = require('node:child_process');
const { createHmac } = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'berth-'));
process.on('exit', () => fs.rmSync(folder, { recursive: true, force: true }));

const openssl = (...args) => execFileSync('openssl', args, { cwd: folder, stdio: 'ignore' });
const read = (file) => fs.readFileSync(path.join(folder, file), 'utf8');
const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

// selfSigned makes a certificate that signs itself, with these extensions.
function selfSigned(name, ...extensions) {
  openssl('req', '-x509', ...newKey, '-days', '30', '-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.pem`, ...extensions);
  return { cert: read(`${name}.pem`), key: read(`${name}.key`) };
}

function signed(name, signer, ...extensions) {
  openssl('req', ...newKey, '-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.csr`);
  openssl('x509', '-req', '-in', `${name}.csr`, '-CA', `${signer}.pem`, '-CAkey', `${signer}.key`, '-CAcreateserial', '-days', '30', '-out', `${name}.pem`, ...extensions);
  return { cert: read(`${name}.pem`), key: read(`${name}.key`) };
}

// device is the certificate and key of a device that signs itself.
exports.device = (name) => selfSigned(name);

// authority is the certificate of an authority of its own.
exports.authority = (name) => selfSigned(name).cert;

// Factory has devices that send their whole chain.
exports.Factory = class {
  constructor(name) {
    this.name = name;
    this.root = selfSigned(`${name} root`).cert;
    fs.writeFileSync(path.join(folder, 'authority.cnf'), 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n');
    this.line = signed(`${name} line`, `${name} root`, '-extfile', 'authority.cnf').cert;
  }

  device(name) {
    const { cert, key } = signed(name, `${this.name} line`);
    return { cert: cert + this.line, key };
  }
};

// derivedKey is a device's own key under a group by key.
exports.derivedKey = (groupKey, registrationId) =>
  createHmac('sha256', Buffer.from(groupKey, 'base64')).update(registrationId).digest('base64');
