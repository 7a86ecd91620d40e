package store

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/behalf-dev/behalf"
	"github.com/behalf-dev/behalf/internal/store/query"
	"github.com/behalf-dev/behalf/internal/vault"
)

// This file hangs the audit log on chains, so that a line that is changed, added
// or removed behind our back is noticed. The rules are:
//
//   - Each node has a chain of its own: one for all would make every commit wait
//     for the one before.
//   - About once a second a node writes one link for the lines that it has
//     committed since. What a node could not link before it died is linked by
//     another.
//   - A link holds the hash of the one before it, a digest of its lines and the
//     newest link of another chain, so that no chain can vanish as a whole. A MAC
//     under the keyring says that it is ours.
//   - Who removes the newest links of all chains is noticed only by somebody who
//     kept the heads elsewhere: behalf audit heads.

const (
	adoptAfter = 10 * time.Minute // a line is in a link by then, or nobody will link it but an adopter
	adoptSince = 24 * time.Hour   // how far back an adopter looks
	linkPage   = 500
)

// chain is what this node has to link.
type chain struct {
	mu    sync.Mutex
	lines []auditRow // committed, or not known to be
	doubt map[int64]bool

	one  sync.Mutex // link at a time
	link int64
	hash []byte
}

// add notes lines whose transaction has ended; err where it is not known how.
func (c *chain) add(lines []auditRow, err error) {
	if len(lines) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines = append(c.lines, lines...)
	if err == nil {
		return
	}
	if c.doubt == nil {
		c.doubt = map[int64]bool{}
	}
	for _, l := range lines {
		c.doubt[l.Seq] = true
	}
}

func (c *chain) take() ([]auditRow, map[int64]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	lines, doubt := c.lines, c.doubt
	c.lines, c.doubt = nil, nil
	return lines, doubt
}

func (c *chain) putBack(lines []auditRow, doubt map[int64]bool) {
	for _, l := range lines {
		var err error
		if doubt[l.Seq] {
			err = ErrBusy
		}
		c.add([]auditRow{l}, err)
	}
}

// linkLines writes a link for what was committed since the last one.
func (db *DB) linkLines(ctx context.Context) error {
	db.chain.one.Lock()
	defer db.chain.one.Unlock()
	lines, doubt := db.chain.take()
	if len(lines) == 0 {
		return nil
	}
	sure, err := db.sure(ctx, lines, doubt)
	if err == nil && len(sure) > 0 {
		err = db.writeLink(ctx, sure)
	}
	if err != nil {
		db.chain.putBack(lines, doubt)
	}
	return err
}

// sure returns the lines that are in the database.
func (db *DB) sure(ctx context.Context, lines []auditRow, doubt map[int64]bool) ([]auditRow, error) {
	out := make([]auditRow, 0, len(lines))
	for _, l := range lines {
		if doubt[l.Seq] && l.Node == string(db.Node) {
			kept, err := db.write.AuditRange(ctx, query.AuditRangeParams{Node: l.Node, Low: l.Seq, High: l.Seq})
			if err != nil {
				return nil, unavailable(err)
			}
			if len(kept) == 0 {
				continue
			}
		}
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b auditRow) int { return cmp.Or(strings.Compare(a.Node, b.Node), cmp.Compare(a.Seq, b.Seq)) })
	return slices.CompactFunc(out, func(a, b auditRow) bool { return a.Node == b.Node && a.Seq == b.Seq }), nil
}

func (db *DB) writeLink(ctx context.Context, lines []auditRow) error {
	others, err := db.read.OtherLink(ctx, string(db.Node))
	if err != nil {
		return unavailable(err)
	}
	l := query.AuditLink{Chain: string(db.Node), Link: db.chain.link + 1, At: micros(db.Now()), Lines: spans(lines), Count: int64(len(lines)), Digest: digest(lines)}
	for _, o := range others {
		l.After = linkName(o.Chain, o.Link, o.Hash)
	}
	l.Hash = linkHash(db.chain.hash, l)
	mac, err := db.linkMAC(l)
	if err != nil {
		return err
	}
	err = db.write.InsertLink(ctx, query.InsertLinkParams{Chain: l.Chain, Link: l.Link, At: l.At, Lines: l.Lines, Count: l.Count, Digest: l.Digest, After: l.After, Hash: l.Hash, Mac: mac})
	if err != nil && db.engine.unique(err) { // it was written, and we were not told
		return db.rehang(ctx)
	}
	if err != nil {
		return unavailable(err)
	}
	db.chain.link, db.chain.hash = l.Link, l.Hash
	return nil
}

// rehang goes on behind the newest link that is there, with the lines once more:
// to be in two links does no harm.
func (db *DB) rehang(ctx context.Context) error {
	rows, err := db.write.Links(ctx, query.LinksParams{Chain: string(db.Node), Link: db.chain.link, Max: linkPage})
	for _, r := range rows {
		if r.Chain == string(db.Node) {
			db.chain.link, db.chain.hash = r.Link, r.Hash
		}
	}
	if err != nil {
		return unavailable(err)
	}
	return ErrBusy
}

func linkName(chain string, link int64, hash []byte) string {
	return chain + "/" + strconv.FormatInt(link, 10) + "/" + hex.EncodeToString(hash)
}

// digest is of all that lines say.
func digest(lines []auditRow) []byte {
	h := sha256.New()
	var b []byte
	for _, l := range lines {
		b = b[:0]
		for _, part := range [...]string{l.Node, l.Actor, l.Assistant, l.Action, l.Object, l.Detail} {
			b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
			b = append(b, part...)
		}
		for _, n := range [...]int64{l.Seq, l.At, l.Count} {
			b = binary.BigEndian.AppendUint64(b, uint64(n))
		}
		_, _ = h.Write(b) // never fails
	}
	return h.Sum(nil)
}

func linkHash(before []byte, l query.AuditLink) []byte {
	b := make([]byte, 0, 256)
	for _, part := range [...][]byte{before, []byte(l.Chain), []byte(l.Lines), l.Digest, []byte(l.After)} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(l.Link))
	b = binary.BigEndian.AppendUint64(b, uint64(l.At))
	sum := sha256.Sum256(b)
	return sum[:]
}

func linkPlace(chain string, link int64) vault.Place {
	return vault.Place{Table: "audit_links", Row: chain, Column: "mac", Generation: link}
}

func linkBytes(hash []byte, forgotten int64) []byte {
	return binary.BigEndian.AppendUint64(bytes.Clone(hash), uint64(forgotten))
}

func (db *DB) linkMAC(l query.AuditLink) ([]byte, error) {
	return db.keyring.MAC(linkBytes(l.Hash, l.Forgotten), linkPlace(l.Chain, l.Link))
}

// spans names lines, in order, as node:seq-seq,seq;node:…
func spans(lines []auditRow) string {
	var b strings.Builder
	for i := 0; i < len(lines); {
		if i == 0 || lines[i].Node != lines[i-1].Node {
			if i > 0 {
				b.WriteByte(';')
			}
			b.WriteString(lines[i].Node + ":")
		} else {
			b.WriteByte(',')
		}
		end := i
		for end+1 < len(lines) && lines[end+1].Node == lines[i].Node && lines[end+1].Seq == lines[end].Seq+1 {
			end++
		}
		b.WriteString(strconv.FormatInt(lines[i].Seq, 10))
		if end > i {
			b.WriteString("-" + strconv.FormatInt(lines[end].Seq, 10))
		}
		i = end + 1
	}
	return b.String()
}

// span is a run of lines of one node.
type span struct {
	node      string
	low, high int64
}

// parseSpans is the inverse of spans; ok is false for what spans did not make.
func parseSpans(s string) (out []span, ok bool) {
	for part := range strings.SplitSeq(s, ";") {
		node, runs, found := strings.Cut(part, ":")
		if !found {
			return nil, false
		}
		for run := range strings.SplitSeq(runs, ",") {
			low, high, wide := strings.Cut(run, "-")
			if !wide {
				high = low
			}
			a, errA := strconv.ParseInt(low, 10, 64)
			b, errB := strconv.ParseInt(high, 10, 64)
			if errA != nil || errB != nil || b < a {
				return nil, false
			}
			out = append(out, span{node, a, b})
		}
	}
	return out, true
}

func rowOf(r query.Audit) auditRow {
	return auditRow{r.Node, r.Seq, r.At, r.Actor, r.Assistant, r.Action, r.Object, r.Detail, r.Count}
}

// adopt takes in what nodes that are gone have not linked.
func (db *DB) adopt(ctx context.Context) error {
	since := micros(db.Now().Add(-adoptSince))
	if n, err := db.read.CountLinks(ctx); err != nil || n == 0 {
		since = 0 // a log from before the chains
	}
	nodes, err := db.read.AuditNodes(ctx, query.AuditNodesParams{Since: since, Node: string(db.Node), Alive: micros(db.Now().Add(-nodeAlive))})
	if err != nil || len(nodes) == 0 {
		return unavailableIf(err)
	}
	linked, err := db.linked(ctx, since)
	if err != nil {
		return err
	}
	for _, node := range nodes {
		rows, err := db.read.AuditOf(ctx, query.AuditOfParams{Node: node, Since: since})
		if err != nil {
			return unavailable(err)
		}
		var lines []auditRow
		for _, r := range rows {
			if !linked.has(r.Node, r.Seq) {
				lines = append(lines, rowOf(r))
			}
		}
		db.chain.add(lines, nil)
	}
	return db.linkLines(ctx)
}

// linked says which lines hang on links.
type linked map[string][]span

func (l linked) has(node string, seq int64) bool {
	return slices.ContainsFunc(l[node], func(s span) bool { return s.low <= seq && seq <= s.high })
}

func (db *DB) linked(ctx context.Context, since int64) (linked, error) {
	texts, err := db.read.LinksSince(ctx, since)
	if err != nil {
		return nil, unavailable(err)
	}
	out := linked{}
	for _, text := range texts {
		all, _ := parseSpans(text) // one that was changed hides nothing: verifying finds it
		for _, s := range all {
			out[s.node] = append(out[s.node], s)
		}
	}
	return out, nil
}

// AuditHeads returns the newest link of every chain. Kept elsewhere, they show
// later that the log was not cut back.
func (s Scope) AuditHeads(ctx context.Context) ([]behalf.AuditHead, error) {
	if err := s.allow(behalf.ReadAudit, "", "audit log"); err != nil {
		return nil, err
	}
	rows, err := s.db.read.LinkHeads(ctx)
	out := make([]behalf.AuditHead, 0, len(rows))
	for _, r := range rows {
		out = append(out, behalf.AuditHead{Chain: r.Chain, Link: r.Link, Hash: hex.EncodeToString(r.Hash), At: at(r.At)})
	}
	return out, unavailableIf(err)
}

// VerifyAudit reads the whole log and its chains and says what does not fit
// them, or the heads that were kept elsewhere.
func (s Scope) VerifyAudit(ctx context.Context, heads []behalf.AuditHead) (behalf.AuditReport, error) {
	if err := s.allow(behalf.ReadAudit, "", "audit log"); err != nil {
		return behalf.AuditReport{}, err
	}
	if err := s.db.linkLines(ctx); err != nil {
		return behalf.AuditReport{}, err
	}
	v := verifier{db: s.db, hashes: map[string]string{}, covered: linked{}}
	if err := v.chains(ctx); err != nil {
		return v.report, err
	}
	for _, a := range v.afters {
		chain, rest, _ := strings.Cut(a, "/")
		link, hash, _ := strings.Cut(rest, "/")
		if v.hashes[chain+"/"+link] != hash {
			v.problem("chain %s: link %s is missing or was changed; another chain knows it", chain, link)
		}
	}
	for _, h := range heads {
		name := h.Chain + "/" + strconv.FormatInt(h.Link, 10)
		switch got, ok := v.hashes[name]; {
		case !ok:
			v.problem("chain %s: the log was cut back: link %d, which the kept head names, is missing", h.Chain, h.Link)
		case got != h.Hash:
			v.problem("chain %s: link %d is not the one that the kept head names", h.Chain, h.Link)
		}
	}
	return v.report, v.strays(ctx)
}

// verifier walks the chains.
type verifier struct {
	db      *DB
	report  behalf.AuditReport
	hashes  map[string]string // by chain/link
	afters  []string
	covered linked
}

func (v *verifier) problem(format string, args ...any) {
	const most = 1000 // a log that was emptied has as many as it had lines
	if len(v.report.Problems) < most {
		v.report.Problems = append(v.report.Problems, fmt.Sprintf(format, args...))
	}
}

func (v *verifier) chains(ctx context.Context) error {
	var before query.AuditLink
	for {
		rows, err := v.db.read.Links(ctx, query.LinksParams{Chain: before.Chain, Link: before.Link, Max: linkPage})
		if err != nil || len(rows) == 0 {
			return unavailableIf(err)
		}
		for _, l := range rows {
			if l.Chain != before.Chain {
				v.report.Chains++
				before = query.AuditLink{Chain: l.Chain}
			}
			if err := v.link(ctx, before, l); err != nil {
				return err
			}
			before = l
		}
	}
}

func (v *verifier) link(ctx context.Context, before, l query.AuditLink) error {
	v.report.Links++
	v.hashes[l.Chain+"/"+strconv.FormatInt(l.Link, 10)] = hex.EncodeToString(l.Hash)
	if l.After != "" {
		v.afters = append(v.afters, l.After)
	}
	if l.Link != before.Link+1 {
		v.problem("chain %s: links %d to %d are missing", l.Chain, before.Link+1, l.Link-1)
	} else if !bytes.Equal(l.Hash, linkHash(before.Hash, l)) {
		v.problem("chain %s: link %d was changed, or the one before it", l.Chain, l.Link)
	}
	if v.db.keyring.CheckMAC(l.Mac, linkBytes(l.Hash, l.Forgotten), linkPlace(l.Chain, l.Link)) != nil {
		v.problem("chain %s: link %d was not written by us", l.Chain, l.Link)
	}
	all, ok := parseSpans(l.Lines)
	if !ok {
		v.problem("chain %s: link %d was changed: it names no lines", l.Chain, l.Link)
	}
	if l.Forgotten == 1 {
		return nil
	}
	var lines []auditRow
	for _, s := range all {
		v.covered[s.node] = append(v.covered[s.node], s)
		rows, err := v.db.read.AuditRange(ctx, query.AuditRangeParams{Node: s.node, Low: s.low, High: s.high})
		if err != nil {
			return unavailable(err)
		}
		if missing := s.high - s.low + 1 - int64(len(rows)); missing > 0 {
			v.problem("%d of the lines %s/%d to %d were removed (link %d of chain %s, %s)", missing, s.node, s.low, s.high, l.Link, l.Chain, at(l.At).Format(time.RFC3339))
		}
		for _, r := range rows {
			lines = append(lines, rowOf(r))
		}
	}
	v.report.Lines += int64(len(lines))
	if int64(len(lines)) == l.Count && !bytes.Equal(digest(lines), l.Digest) {
		v.problem("of the lines %s, one was changed (link %d of chain %s, %s)", l.Lines, l.Link, l.Chain, at(l.At).Format(time.RFC3339))
	}
	return nil
}

// strays looks for lines that hang on no link.
func (v *verifier) strays(ctx context.Context) error {
	late := micros(v.db.Now().Add(-adoptAfter))
	rows, err := v.db.engine.reader.QueryContext(ctx, "SELECT node, seq, at FROM audit ORDER BY node, seq")
	if err != nil {
		return unavailable(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var node string
		var seq, when int64
		if err := rows.Scan(&node, &seq, &when); err != nil {
			return unavailable(err)
		}
		if v.covered.has(node, seq) {
			continue
		}
		v.report.Unlinked++
		if when < late {
			v.problem("line %s/%d (%s) hangs on no link: it was added behind our back, or its node died and no server has run since", node, seq, at(when).Format(time.RFC3339))
		}
	}
	return unavailableIf(rows.Err())
}

// forgetAudit does what the operator's settings ask for.
func (db *DB) forgetAudit(ctx context.Context) error {
	if db.auditKeep <= 0 && db.auditLines <= 0 {
		return nil
	}
	var before time.Time
	if db.auditKeep > 0 {
		before = db.Now().Add(-db.auditKeep)
	}
	return db.As(behalf.System("audit")).ForgetAudit(ctx, before, db.auditLines)
}

// ForgetAudit deletes the lines of the oldest links: those before a time, and
// those beyond a number of lines. Zero asks for neither. The links stay, and say
// that their lines were forgotten.
func (s Scope) ForgetAudit(ctx context.Context, before time.Time, most int64) error {
	if err := s.allow(behalf.Maintain, "", "audit log"); err != nil {
		return err
	}
	beyond := int64(0)
	if most > 0 {
		n, err := s.db.read.CountAudit(ctx)
		if err != nil {
			return unavailable(err)
		}
		beyond = n - most
	}
	links, err := s.db.read.OldestLinks(ctx, linkPage)
	if err != nil {
		return unavailable(err)
	}
	for _, l := range links {
		if !at(l.At).Before(before) && beyond <= 0 {
			return nil
		}
		if err := s.forgetLink(ctx, l); err != nil {
			return err
		}
		beyond -= l.Count
	}
	return nil
}

func (s Scope) forgetLink(ctx context.Context, l query.AuditLink) error {
	l.Forgotten = 1
	mac, err := s.db.linkMAC(l)
	if err != nil {
		return err
	}
	return s.change(ctx, func(c *change) error {
		n, err := c.ForgetLink(ctx, query.ForgetLinkParams{Mac: mac, Chain: l.Chain, Link: l.Link})
		if err != nil || n == 0 {
			return err // another node did it
		}
		all, _ := parseSpans(l.Lines)
		for _, sp := range all {
			if err := c.DeleteAuditRange(ctx, query.DeleteAuditRangeParams{Node: sp.node, Low: sp.low, High: sp.high}); err != nil {
				return err
			}
		}
		return nil
	})
}
