package device

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// TPM is a TPM 2.0 with which a device proves itself: its endorsement key, its
// storage root key, and the HMAC key that a service made for it. They are
// transient objects, of which a TPM holds three. Its methods may be called from
// many goroutines.
type TPM struct {
	endorsement, storageRoot loaded // do not change

	mutex    sync.Mutex
	through  transport.TPM
	identity *tpm2.NamedHandle // the HMAC key, nil before Activate
}

// TPMKeyType is the kind of the endorsement key and the storage root key.
type TPMKeyType int

const (
	TPMRSA TPMKeyType = iota // RSA of 2048 bits, as Azure's device SDKs have it
	TPMECC                   // P-256
)

// loaded is a key in the TPM.
type loaded struct {
	tpm2.NamedHandle
	public []byte // TPM2B_PUBLIC
}

// OpenTPM makes the keys of a TPM ready, which are the same each time as long as
// it is not cleared: by the templates of the TCG, without passwords. Who opened
// the transport closes it, after the TPM.
func OpenTPM(through transport.TPM, keys TPMKeyType) (*TPM, error) {
	t := &TPM{through: through}
	endorsement, storageRoot := tpm2.RSAEKTemplate, tpm2.RSASRKTemplate
	if keys == TPMECC {
		endorsement, storageRoot = tpm2.ECCEKTemplate, tpm2.ECCSRKTemplate
	}
	var err error
	if t.endorsement, err = t.create(tpm2.TPMRHEndorsement, endorsement); err != nil {
		return nil, fmt.Errorf("make the TPM's endorsement key: %w", err)
	}
	if t.storageRoot, err = t.create(tpm2.TPMRHOwner, storageRoot); err != nil {
		return nil, errors.Join(fmt.Errorf("make the TPM's storage root key: %w", err), t.flush(t.endorsement.Handle))
	}
	return t, nil
}

func (t *TPM) create(hierarchy tpm2.TPMHandle, template tpm2.TPMTPublic) (loaded, error) {
	made, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.AuthHandle{Handle: hierarchy, Auth: tpm2.PasswordAuth(nil)},
		InPublic:      tpm2.New2B(template),
	}.Execute(t.through)
	if err != nil {
		return loaded{}, err
	}
	return loaded{tpm2.NamedHandle{Handle: made.ObjectHandle, Name: made.Name}, tpm2.Marshal(made.OutPublic)}, nil
}

func (t *TPM) flush(handle tpm2.TPMHandle) error {
	_, err := tpm2.FlushContext{FlushHandle: handle}.Execute(t.through)
	return err
}

// Close removes the keys from the TPM.
func (t *TPM) Close() error {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	err := errors.Join(t.flush(t.endorsement.Handle), t.flush(t.storageRoot.Handle))
	if t.identity != nil {
		err = errors.Join(err, t.flush(t.identity.Handle))
	}
	return err
}

// EndorsementKey returns the public endorsement key as an enrollment has it:
// base64 of a TPM2B_PUBLIC.
func (t *TPM) EndorsementKey() string {
	return base64.StdEncoding.EncodeToString(t.endorsement.public)
}

// StorageRootKey returns the public storage root key in the same form.
func (t *TPM) StorageRootKey() string {
	return base64.StdEncoding.EncodeToString(t.storageRoot.public)
}

// RegistrationID returns the registration id that Azure's device SDKs give to a
// device with this TPM: the SHA-256 of its endorsement key in base32.
func (t *TPM) RegistrationID() string {
	digest := sha256.Sum256(t.endorsement.public)
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(digest[:]))
}

// Activate takes the HMAC key out of what a service enclosed for this TPM and
// imports it, in place of the one before. Only the TPM for which it was enclosed
// can.
func (t *TPM) Activate(activation []byte) error {
	parts, err := splitActivation(activation)
	if err != nil {
		return fmt.Errorf("read what the TPM is to activate: %w", err)
	}
	t.mutex.Lock()
	defer t.mutex.Unlock()
	opened, err := tpm2.ActivateCredential{
		ActivateHandle: t.authorized(t.storageRoot.NamedHandle),
		KeyHandle: tpm2.AuthHandle{Handle: t.endorsement.Handle, Name: t.endorsement.Name,
			Auth: tpm2.Policy(tpm2.TPMAlgSHA256, 16, endorsementPolicy)},
		CredentialBlob: tpm2.TPM2BIDObject{Buffer: parts.idObject},
		Secret:         tpm2.TPM2BEncryptedSecret{Buffer: parts.secret},
	}.Execute(t.through)
	if err != nil {
		return fmt.Errorf("the TPM does not open what the service enclosed: %w", err)
	}
	key := opened.CertInfo.Buffer
	imported, err := tpm2.Import{
		ParentHandle:  t.authorized(t.storageRoot.NamedHandle),
		EncryptionKey: tpm2.TPM2BData{Buffer: key},
		ObjectPublic:  tpm2.BytesAs2B[tpm2.TPMTPublic](parts.public),
		Duplicate:     tpm2.TPM2BPrivate{Buffer: parts.private},
		InSymSeed:     tpm2.TPM2BEncryptedSecret{Buffer: parts.seed},
		Symmetric: tpm2.TPMTSymDef{Algorithm: tpm2.TPMAlgAES,
			KeyBits: tpm2.NewTPMUSymKeyBits(tpm2.TPMAlgAES, tpm2.TPMKeyBits(8*len(key))),
			Mode:    tpm2.NewTPMUSymMode(tpm2.TPMAlgAES, tpm2.TPMAlgCFB)},
	}.Execute(t.through)
	if err != nil {
		return fmt.Errorf("the TPM does not import the key: %w", err)
	}
	if t.identity != nil {
		if err := t.flush(t.identity.Handle); err != nil {
			return fmt.Errorf("remove the former key from the TPM: %w", err)
		}
		t.identity = nil
	}
	ready, err := tpm2.Load{
		ParentHandle: t.authorized(t.storageRoot.NamedHandle),
		InPrivate:    imported.OutPrivate,
		InPublic:     tpm2.BytesAs2B[tpm2.TPMTPublic](parts.public),
	}.Execute(t.through)
	if err != nil {
		return fmt.Errorf("load the imported key: %w", err)
	}
	t.identity = &tpm2.NamedHandle{Handle: ready.ObjectHandle, Name: ready.Name}
	return nil
}

func (t *TPM) authorized(key tpm2.NamedHandle) tpm2.AuthHandle {
	return tpm2.AuthHandle{Handle: key.Handle, Name: key.Name, Auth: tpm2.PasswordAuth(nil)}
}

// endorsementPolicy is what the TCG's templates ask for the use of an endorsement
// key: the password of its hierarchy, here empty.
func endorsementPolicy(tpm transport.TPM, session tpm2.TPMISHPolicy, nonce tpm2.TPM2BNonce) error {
	_, err := tpm2.PolicySecret{
		AuthHandle:    tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(nil)},
		PolicySession: session,
		NonceTPM:      nonce,
	}.Execute(tpm)
	return err
}

// sign returns the HMAC-SHA256 of at most 1,024 bytes with the key that was
// activated last.
func (t *TPM) sign(text []byte) ([]byte, error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.identity == nil {
		return nil, errors.New("the TPM has no key of a service yet: register first")
	}
	signed, err := tpm2.Hmac{
		Handle:  t.authorized(*t.identity),
		Buffer:  tpm2.TPM2BMaxBuffer{Buffer: text},
		HashAlg: tpm2.TPMAlgSHA256,
	}.Execute(t.through)
	if err != nil {
		return nil, fmt.Errorf("sign with the TPM: %w", err)
	}
	return signed.OutHMAC.Buffer, nil
}

// activation is what a service encloses for a TPM, in the order in which its
// parts come, each after its size.
type activation struct {
	idObject []byte // TPMS_ID_OBJECT, which holds the key of the inner wrapper
	secret   []byte // that encrypts it, for the endorsement key
	private  []byte // the HMAC key, wrapped
	seed     []byte // of the outer wrapper, if there is one
	public   []byte // TPMT_PUBLIC of the HMAC key
}

func splitActivation(blob []byte) (activation, error) {
	var a activation
	rest := bytes.NewBuffer(blob)
	for _, part := range []*[]byte{&a.idObject, &a.secret, &a.private, &a.seed, &a.public} {
		size := rest.Next(2)
		if len(size) < 2 {
			return a, errors.New("it ends too early")
		}
		if *part = rest.Next(int(binary.BigEndian.Uint16(size))); len(*part) < int(binary.BigEndian.Uint16(size)) {
			return a, errors.New("it ends too early")
		}
	}
	return a, nil
}
