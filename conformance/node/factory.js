// A factory that makes devices: a root authority, one in between that signs the
// devices' certificates, and the keys that are derived from a group's.
'use strict';

const { execFileSync } = require('node:child_process');
const { createHmac, generateKeyPairSync } = require('node:crypto');
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

// endorsementKey is the public area (TPM2B_PUBLIC, base64) of a new RSA key that a
// TPM would have made by the default template of the TCG's EK Credential Profile.
exports.endorsementKey = () => {
  const { n } = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey.export({ format: 'jwk' });
  const area = Buffer.concat([
    Buffer.from('0001000b000300b2', 'hex'), // RSA, named by SHA-256, a restricted key for decryption
    Buffer.from('0020837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa', 'hex'), // its policy
    Buffer.from('00060080004300100800000000000100', 'hex'), // AES-128-CFB, no scheme, 2,048 bits, the usual exponent, 256 bytes
    Buffer.from(n, 'base64url'),
  ]);
  const size = Buffer.alloc(2);
  size.writeUInt16BE(area.length);
  return Buffer.concat([size, area]).toString('base64');
};
