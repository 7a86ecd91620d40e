package store

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store/query"
	"github.com/behalf-dev/behalf/internal/vault"
)

// This file keeps refreshed credentials until the database has them: the provider
// has rotated already, and they may be the only good ones. The rules are:
//
//   - A credential is written to the file before the database is asked to take it.
//     So it outlives this process, however that ends; that it outlives the machine
//     is what the database's commit is waited for.
//   - Where the database does not take it, the file is on disk before anybody sees
//     the credential.
//   - A record is sealed, with its length and its checksum before it; what a crash
//     left half written is no record.
//   - A node writes what it could not write before it takes any lease again, and at
//     its start also what nodes before it have left in the same directory.
//   - A file only grows. It is emptied or removed only when the database has
//     committed all that is in it; where it has grown long, the next one begins.
//   - What is found in a file may have been committed: it is not written twice.

const (
	spillPrefix = "spill-"
	spillSuffix = ".bin"
	maxRecord   = 4 << 20
	longSpill   = 1 << 20 // bytes after which the next file begins
)

var (
	spillPlace = vault.Place{Table: "spill", Row: "record", Column: "sealed"}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// spillRecord is what is sealed in a record.
type spillRecord struct {
	Keep      *keepRow `json:"keep"`
	Assistant string   `json:"assistant"`
	Profile   string   `json:"profile"`
	User      string   `json:"user"`
}

// spillFile is one file of this node.
type spillFile struct {
	*os.File
	size int64
	open int  // records in it that the database has not committed
	kept bool // some of them are on disk
}

// unwritten is what the database has not taken yet.
type unwritten struct {
	db  *DB
	dir string

	mu       sync.Mutex // of the files and the list
	file     *spillFile // where the next record goes; nil: there is no directory for it
	files    int        // that were begun
	settling sync.Mutex
	jobs     []*job
	written  int                           // refreshed credentials since the list was empty
	overlay  map[behalf.ConnectionID]*Held // what is served from memory meanwhile
	n        atomic.Int64                  // of overlay
}

// hold writes a credential to the file. Where the file does not take it, it
// depends on the database alone.
func (u *unwritten) hold(j *job) {
	if u.dir == "" || j.in != nil {
		return
	}
	record, err := u.db.spillBytes(j)
	if err == nil {
		err = u.write(j, record)
	}
	if err != nil {
		u.db.log.Error("the spill file does not take a refreshed credential", "connection", j.c.ID, "err", err)
	}
}

func (u *unwritten) write(j *job, record []byte) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.file.size > longSpill {
		u.next()
	}
	f := u.file
	if _, err := f.WriteAt(record, f.size); err != nil {
		return errors.Join(err, f.Truncate(f.size)) // what comes next must not stand behind half a record
	}
	f.size += int64(len(record))
	f.open++
	j.in = f
	return nil
}

// turn turns away from a file that the disk refused once: after that a system
// may say of the same bytes that they are on the disk.
func (u *unwritten) turn(from *spillFile) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.file == from {
		u.next()
	}
}

// next begins the next file. Where that fails, the old one still does.
func (u *unwritten) next() {
	f, err := u.begin(u.dir)
	if err != nil {
		u.db.log.Error("the next spill file was not begun", "err", err)
		return
	}
	if u.file.open == 0 {
		_ = errors.Join(os.Remove(u.file.Name()), u.file.Close())
	}
	u.file = f
}

// begin makes a file of this node.
func (u *unwritten) begin(dir string) (*spillFile, error) {
	name := string(u.db.Node)
	if u.files > 0 {
		name += fmt.Sprintf(".%d", u.files)
	}
	f, err := os.OpenFile(filepath.Join(dir, spillPrefix+name+spillSuffix), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store: make the spill file: %w", err)
	}
	if !lockFile(f) {
		return nil, errors.Join(errors.New("store: the spill file cannot be locked"), f.Close())
	}
	u.files++
	return &spillFile{File: f}, syncDirectory(dir)
}

// let forgets a record that the database has, or will never take.
func (u *unwritten) let(j *job) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	f := j.in
	if f == nil {
		return nil
	}
	j.in = nil
	if f.open--; f.open > 0 {
		return nil
	}
	if f != u.file {
		return errors.Join(os.Remove(f.Name()), f.Close())
	}
	err := f.Truncate(0)
	if f.kept {
		err = errors.Join(err, f.Sync())
	}
	if err == nil {
		f.size, f.kept = 0, false
	}
	return err
}

// spill makes a kept credential durable in the file.
func (u *unwritten) spill(j *job, got behalf.Credential) error {
	if u.hold(j); j.in == nil {
		return errors.New("store: there is no spill file")
	}
	if err := j.in.Sync(); err != nil {
		u.turn(j.in)
		u.db.log.Error("the spill file does not take a refreshed credential", "connection", j.c.ID, "err", err)
		return err
	}
	u.db.log.Warn("the database does not take a refreshed credential: it is in the spill file", "connection", j.c.ID)
	u.mu.Lock()
	defer u.mu.Unlock()
	j.in.kept = true
	u.jobs = append(u.jobs, j)
	u.lay(j, got)
	return nil
}

// lay serves a credential from memory, where its connection is held already.
func (u *unwritten) lay(j *job, got behalf.Credential) {
	old := u.db.held.peek(j.c)
	if old == nil {
		return
	}
	sealed := old.secrets.Load()
	if sealed == nil {
		return
	}
	_, inputs, err := old.open(*sealed)
	if err != nil {
		return
	}
	h := &Held{Connection: j.c, db: u.db}
	packed := u.db.held.memory.Seal(packSecrets(got, inputs), h.label("secrets"))
	h.secrets.Store(&packed)
	if u.overlay == nil {
		u.overlay = map[behalf.ConnectionID]*Held{}
	}
	u.overlay[h.ID] = h
	u.n.Store(int64(len(u.overlay)))
}

// over returns held connections with what is newer in memory.
func (u *unwritten) over(all []*Held) []*Held {
	if u.n.Load() == 0 {
		return all
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	out := make([]*Held, len(all))
	for i, h := range all {
		out[i] = h
		if newer := u.overlay[h.ID]; newer != nil && newer.Generation > h.Generation {
			out[i] = newer
		}
	}
	return out
}

// add keeps a write for when the database answers again; a crash may lose it.
func (u *unwritten) add(j *job) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.jobs = append(u.jobs, j)
}

func (u *unwritten) waiting() []*job {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.jobs[:len(u.jobs):len(u.jobs)]
}

// settle writes what is waiting, and empties the file when all is written.
func (u *unwritten) settle() error {
	if len(u.waiting()) == 0 {
		return nil
	}
	u.settling.Lock()
	defer u.settling.Unlock()
	for jobs := u.waiting(); len(jobs) > 0; jobs = u.waiting() {
		batch := jobs[:min(len(jobs), maxBatch)]
		again := make([]*job, len(batch))
		for i, j := range batch {
			again[i] = &job{scope: j.scope, c: j.c, keep: j.keep, release: j.release, done: make(chan struct{})}
		}
		u.db.group.commit(again)
		for _, j := range again {
			if behalf.CodeOf(j.err) == behalf.CodeUnavailable {
				return j.err
			}
			if j.err != nil {
				u.db.log.Error("a write that waited is refused for what is in it", "connection", j.c.ID, "err", j.err)
			}
		}
		if err := u.wrote(len(batch)); err != nil {
			return err
		}
	}
	return nil
}

// wrote forgets the first n that waited.
func (u *unwritten) wrote(n int) error {
	u.mu.Lock()
	written := u.jobs[:n:n]
	u.jobs = u.jobs[n:]
	for _, j := range written {
		u.written += int(flag(j.keep != nil))
	}
	records := u.written
	all := len(u.jobs) == 0
	if all {
		u.jobs, u.overlay, u.written = nil, nil, 0
		u.n.Store(0)
	}
	u.mu.Unlock()
	var failed error
	for _, j := range written {
		failed = errors.Join(failed, u.let(j))
	}
	if failed != nil {
		return unavailable(fmt.Errorf("store: empty the spill file: %w", failed))
	}
	if all && u.dir != "" {
		u.db.log.Info("all that the database had not taken is written", "records", records)
	}
	return nil
}

func (db *DB) spillBytes(j *job) ([]byte, error) {
	plain, err := json.Marshal(spillRecord{j.keep, string(j.c.Assistant), string(j.c.Profile), j.c.User})
	if err != nil {
		return nil, fmt.Errorf("store: encode a spilled record: %w", err)
	}
	sealed, err := db.keyring.Seal(plain, spillPlace)
	if err != nil {
		return nil, err
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(len(sealed)))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(sealed, castagnoli))
	return append(b, sealed...), nil
}

// readRecords returns the whole records of a spill file, and whether something
// half written follows them.
func readRecords(r io.Reader) (records [][]byte, torn bool) {
	in := bufio.NewReader(r)
	for {
		var head [8]byte
		if n, err := io.ReadFull(in, head[:]); err != nil {
			return records, n > 0
		}
		size := binary.BigEndian.Uint32(head[:4])
		if size > maxRecord {
			return records, true
		}
		record := make([]byte, size)
		if _, err := io.ReadFull(in, record); err != nil || crc32.Checksum(record, castagnoli) != binary.BigEndian.Uint32(head[4:]) {
			return records, true
		}
		records = append(records, record)
	}
}

// left is the spill file of a node that is gone.
type left struct {
	file *os.File
	node string
}

// openSpills opens this node's file in the directory, and those that nobody
// holds any longer.
func (db *DB) openSpills(dir string) ([]left, error) {
	db.unwritten.db = db
	if dir == "" {
		return nil, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("store: make the directory of the spill file: %w", err)
	}
	names, err := filepath.Glob(filepath.Join(dir, spillPrefix+"*"+spillSuffix))
	if err != nil {
		return nil, err
	}
	var old []left
	for _, name := range names {
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			return nil, fmt.Errorf("store: open a spill file: %w", err)
		}
		if !lockFile(f) {
			_ = f.Close() // another node of this directory is alive
			continue
		}
		node, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(name), spillPrefix), ".")
		old = append(old, left{f, node})
	}
	if db.unwritten.file, err = db.unwritten.begin(dir); err != nil {
		return nil, err
	}
	db.unwritten.dir = dir
	return old, nil
}

// abandon is for a node that does not start after all: what others have left
// stays as it was.
func (u *unwritten) abandon(old []left) {
	for _, l := range old {
		_ = l.file.Close()
	}
	if u.file != nil {
		_ = os.Remove(u.file.Name()) // nothing was written to it
		_ = u.file.Close()
	}
}

func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("store: open the directory of the spill file: %w", err)
	}
	_ = d.Sync() // not every system can
	return d.Close()
}

// replay writes what nodes before this one have left, and then removes their
// files. A record that does not open is a reason not to start: it may be the
// only good credential of somebody.
func (db *DB) replay(ctx context.Context, old []left) error {
	for _, l := range old {
		records, torn := readRecords(l.file)
		if torn {
			db.log.Warn("the spill file ends in a record that a crash has cut off", "file", l.file.Name())
		}
		n := 0
		for _, sealed := range records {
			j, err := db.unspill(sealed)
			if err != nil {
				return fmt.Errorf("store: the spill file %s does not open with this database's keys: put back the key that it was made with, or move the file away: %w", l.file.Name(), err)
			}
			has, err := db.has(ctx, j.keep)
			if err != nil {
				return err
			}
			if !has {
				db.unwritten.add(j)
				n++
			}
		}
		if n > 0 {
			db.log.Warn("refreshed credentials that the database had not taken are written now", "file", l.file.Name(), "records", n)
		}
	}
	if err := db.unwritten.settle(); err != nil {
		return err
	}
	for _, l := range old {
		if err := db.buried(l); err != nil {
			return err
		}
	}
	return nil
}

// has reports whether the database has a record: in a file of which nobody could
// take away what was committed, most of them. One of a generation that is not
// kept any longer it had.
func (db *DB) has(ctx context.Context, k *keepRow) (bool, error) {
	_, err := db.read.Credential(ctx, query.CredentialParams{Connection: k.ID, Generation: k.Generation, Fence: k.Fence})
	if !isNoRows(err) {
		return err == nil, unavailableIf(err)
	}
	c, err := db.read.Connection(ctx, k.ID)
	if isNoRows(err) {
		return true, nil // deleted
	}
	return c.Generation >= k.Generation+keptGenerations, unavailableIf(err)
}

func (db *DB) unspill(sealed []byte) (*job, error) {
	plain, err := db.keyring.Open(sealed, spillPlace)
	if err != nil {
		return nil, err
	}
	var r spillRecord
	if err := json.Unmarshal(plain, &r); err != nil || r.Keep == nil {
		return nil, errors.New("store: a spilled record cannot be read") // the decoder's error would show it
	}
	return &job{scope: db.As(behalf.System("spill")), keep: r.Keep, c: behalf.Connection{ID: behalf.ConnectionID(r.Keep.ID), Assistant: behalf.AssistantID(r.Assistant),
		Profile: behalf.ProfileID(r.Profile), User: r.User, Generation: r.Keep.Generation, Fence: r.Keep.Fence, Status: behalf.ConnectionActive}}, nil
}
