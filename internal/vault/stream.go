package vault

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/streamingaead"
)

// This file seals a stream of any length, for backups: a key of its own, which
// the root key wraps, and after it the stream in pieces that can neither be
// changed, left out, swapped nor cut off.

const (
	streamMark  = "behalf-backup-v1\n"
	heldMark    = "behalf-backup-v2\n" // what a key management service holds comes before the key
	streamLabel = "behalf/keyset/v1/backup"
	maxStreamed = 1 << 16 // of a wrapped key
)

// ErrStream is returned for a stream that SealStream did not make, that was
// damaged or cut off, or that is sealed with another root key.
var ErrStream = errors.New("vault: this is not a whole backup, or it was sealed with another root key")

// SealStream returns a writer whose content OpenStream gives back. Close ends
// the stream, and does not close w.
func SealStream(root RootKey, w io.Writer) (io.WriteCloser, error) {
	keys, err := keyset.NewHandle(streamingaead.AES256GCMHKDF1MBKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("vault: seal a stream: %w", err)
	}
	key, err := wrap(root, keys, streamLabel)
	if err != nil {
		return nil, err
	}
	head := []byte(streamMark)
	if root.held != nil {
		head = counted([]byte(heldMark), root.held)
	}
	if _, err := w.Write(counted(head, key)); err != nil {
		return nil, err
	}
	s, err := streamingaead.New(keys)
	if err != nil {
		return nil, fmt.Errorf("vault: seal a stream: %w", err)
	}
	return s.NewEncryptingWriter(w, []byte(streamLabel))
}

func counted(head, b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(head, uint32(len(b))), b...)
}

// readHead reads what SealStream has written before the stream.
func readHead(in io.Reader) (held, key []byte, err error) {
	mark := make([]byte, len(streamMark))
	if _, err := io.ReadFull(in, mark); err != nil {
		return nil, nil, ErrStream
	}
	switch string(mark) {
	case heldMark:
		if held, err = readCounted(in); err != nil {
			return nil, nil, err
		}
	case streamMark:
	default:
		return nil, nil, ErrStream
	}
	key, err = readCounted(in)
	return held, key, err
}

func readCounted(in io.Reader) ([]byte, error) {
	var n [4]byte
	if _, err := io.ReadFull(in, n[:]); err != nil || binary.BigEndian.Uint32(n[:]) > maxStreamed {
		return nil, ErrStream
	}
	b := make([]byte, binary.BigEndian.Uint32(n[:]))
	if _, err := io.ReadFull(in, b); err != nil {
		return nil, ErrStream
	}
	return b, nil
}

// OpenStream returns a reader of what SealStream was given. It, and its Read,
// return ErrStream for anything else. rootKey is given the root key as a key
// management service holds it, where one does.
func OpenStream(rootKey func(held []byte) (RootKey, error), r io.Reader) (io.Reader, error) {
	in := bufio.NewReader(r)
	held, key, err := readHead(in)
	if err != nil {
		return nil, err
	}
	root, err := rootKey(held)
	if err != nil {
		return nil, err
	}
	keys, err := unwrap(root, key, streamLabel)
	if err != nil {
		return nil, ErrStream
	}
	s, err := streamingaead.New(keys)
	if err != nil {
		return nil, ErrStream
	}
	opened, err := s.NewDecryptingReader(in, []byte(streamLabel))
	if err != nil {
		return nil, ErrStream
	}
	return streamReader{opened}, nil
}

type streamReader struct{ r io.Reader }

func (s streamReader) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && err != io.EOF {
		err = ErrStream
	}
	return n, err
}
