package behalf

import "time"

// KeyringKey is one key of the keyring, which seals what is secret in the
// database.
type KeyringKey struct {
	ID    string // 8 hexadecimal digits
	State KeyringKeyState
	Rows  int64 // sealed under it, in the database
}

// KeyringKeyState is what a key of the keyring does.
type KeyringKeyState string

const (
	KeyringKeyPrimary  KeyringKeyState = "primary"  // seals and opens
	KeyringKeyEnabled  KeyringKeyState = "enabled"  // opens
	KeyringKeyDisabled KeyringKeyState = "disabled" // is kept, and opens nothing
)

// Keyring is the state of all keys and of the newest rotation.
type Keyring struct {
	Database DatabaseID
	HeldBy   string // URI of the key management service's key that holds the root key, if one does
	Keys     []KeyringKey
	Rotation *KeyRotation // nil: none was begun yet
	Waiting  []NodeID     // nodes that have not loaded the newest key yet
	Kit      *RecoveryKit // nil: none was ever made
}

// KeyRotation is one rotation of the keyring: a key is added, loaded by every
// node, made the one that seals, and everything is sealed again.
type KeyRotation struct {
	Key        string // that was added
	Stage      KeyRotationStage
	StartedAt  time.Time
	PromotedAt time.Time // when the key began to seal
	EndedAt    time.Time
	Done       int64 // rows sealed again
	Total      int64 // rows to seal again, as counted when the key began to seal
	Damaged    int64 // rows that do not open; they stay as they are
}

// KeyRotationStage is how far a rotation is.
type KeyRotationStage string

const (
	KeyRotationAdded   KeyRotationStage = "added"   // waits for every node to load the key
	KeyRotationSealing KeyRotationStage = "sealing" // seals everything again
	KeyRotationDone    KeyRotationStage = "done"
)

// RecoveryKit tells of the newest page on which the root key was written. It
// stays good when the keyring is rotated.
type RecoveryKit struct {
	MadeAt time.Time
	VoidAt time.Time // when the root key was replaced: it opens what is older only; zero: it is good
}

// String says in one sentence what there is.
func (k *RecoveryKit) String() string {
	switch {
	case k == nil:
		return "no recovery kit was ever made: behalf keyring kit writes one"
	case !k.VoidAt.IsZero():
		return "the recovery kit of " + k.MadeAt.Format(time.DateOnly) + " is void, since the root key was replaced on " + k.VoidAt.Format(time.DateOnly) + ": behalf keyring kit writes another"
	}
	return "the newest recovery kit is of " + k.MadeAt.Format(time.DateOnly)
}
