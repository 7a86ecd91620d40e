package tunnel

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/hashicorp/yamux"
)

// This file bounds what a tunnel may keep in memory. yamux gives each stream a
// window of 256 KiB at least, so that a thousand readers that stall would hold a
// quarter of a gigabyte. The rules are:
//
//   - Above yamux each stream has a credit of its own, which begins small and
//     grows where the bytes are taken quickly, as long as the budget of this side
//     has room.
//   - What a stalled reader holds cannot be taken back. So nobody may have more
//     than a part of what is left, and half is for those who have moved much.
//   - Credit that is not used is given back: a connection that is kept for later
//     keeps no window.
//   - Credit travels in a stream of its own (control), so that data passes as
//     it is and small exchanges need none.
//   - What arrives beyond the credit ends the tunnel: the other side is broken or
//     hostile.

const (
	chunk       = 32 << 10 // of one frame: others get their turn after it
	writers     = 16       // frames that wait for the network at once; all others wait for credit or their turn, without a deadline
	maxWindow   = 1 << 20
	maxRecords  = 8192 // streams that are open, or closed on one side
	closeWait   = 30 * time.Second
	controlSize = 8 // a stream's id and a number, each in 4 bytes

	drainNow   = 1       // on stream 0: begin nothing new here
	returned   = 1 << 31 // in the number: credit that its holder gives back
	tickTime   = time.Second
	heartbeat  = 5 * tickTime
	growTime   = 100 * time.Millisecond // and two round trips: in which a reader in a hurry takes half a window
	shrinkTime = 2 * time.Second

	share      = 4        // a window is at most this part of what the budget has left
	freeShare  = 16       // the same for streams that have not moved much yet
	doubled    = 2        // what a window may take in memory: yamux's buffer grows by doubling
	freeWindow = 32 << 10 // the most for streams that have not moved much yet
	muchMoved  = 1 << 20  // more than the kernels' buffers hold of a connection whose reader stalls: some 300 KiB on Linux
)

var (
	errExceeded = errors.New("tunnel: the other side sent more than it was granted")
	errMessage  = errors.New("tunnel: a message that this version does not know")
)

// Budget is the memory in bytes that the windows of all streams of one process
// may have beyond their beginning.
type Budget struct {
	mu         sync.Mutex
	size, left int64
}

// NewBudget returns a budget of n bytes.
func NewBudget(n int64) *Budget { return &Budget{size: n, left: n} }

// take lets a window of a stream grow by n to one of size, where that leaves
// enough for others.
func (b *Budget) take(n, size uint32, proven bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	left := b.left - doubled*int64(n)
	free, part := left, int64(share)
	if !proven {
		free, part = left-b.size/2, freeShare
	}
	if free < part*doubled*int64(size) {
		return false
	}
	b.left = left
	return true
}

func (b *Budget) give(n uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left += doubled * int64(n)
}

// link is one end of one tunnel.
type link struct {
	mux     *yamux.Session
	opens   bool   // it is we who open streams
	window  uint32 // that our streams begin with
	theirs  uint32 // that the other side's begin with
	budget  *Budget
	now     func() time.Time
	drained func() // the other side begins nothing new

	writers  chan struct{}
	wake     chan struct{}
	draining atomic.Bool
	ending   atomic.Bool
	calls    atomic.Int64
	in, out  atomic.Int64 // bytes of streams
	round    atomic.Int64 // a round trip, in nanoseconds
	heard    atomic.Int64 // how often something came

	heardBefore int64 // at the last tick
	quiet       int   // ticks since something came

	mu      sync.Mutex
	flows   map[uint32]*flow
	pending map[uint32]uint32 // credit that is to be told
	unused  map[uint32]uint32 // credit that is to be given back
}

// flow is the credit of one stream in both directions.
type flow struct {
	conn     *Conn // nil: not ours yet, or any more
	granted  uint64
	received uint64
	consumed uint64
	window   uint32
	held     uint32    // of the budget; more than the window's part until yamux's buffer is let go
	since    time.Time // the newest grant

	allowed uint64
	sent    uint64
	before  uint64 // sent, at the last look

	reading bool // somebody reads for whenData

	closed       bool // by us
	remoteClosed bool
}

// newLink begins the session over a WebSocket, which it closes. The server is its
// client, because it opens the streams.
func newLink(ctx context.Context, ws *websocket.Conn, client bool, own, theirs uint32, budget *Budget, now func() time.Time, drained func()) (*link, error) {
	l := &link{opens: client, window: own, theirs: theirs, budget: budget, now: now, drained: drained, writers: make(chan struct{}, writers), wake: make(chan struct{}, 1),
		flows: map[uint32]*flow{}, pending: map[uint32]uint32{}, unused: map[uint32]uint32{}}
	cfg := yamux.DefaultConfig()
	cfg.LogOutput = io.Discard
	cfg.AcceptBacklog = 1024
	cfg.MaxStreamWindowSize = maxWindow
	cfg.EnableKeepAlive = false // see measure: behind a slow line an answer to a ping may take longer than yamux waits
	cfg.ConnectionWriteTimeout = 8 * time.Second
	cfg.StreamOpenTimeout = 10 * time.Second
	cfg.StreamCloseTimeout = closeWait
	var err error
	guarded := &guard{Conn: websocket.NetConn(ctx, ws, websocket.MessageBinary), ws: ws, link: l}
	if client {
		l.mux, err = yamux.Client(guarded, cfg)
	} else {
		l.mux, err = yamux.Server(guarded, cfg)
	}
	if err != nil {
		return nil, err
	}
	control, err := l.control(client)
	if err != nil {
		l.end()
		return nil, err
	}
	go l.tell(control)
	go l.listen(control)
	go l.measure()
	go l.watch()
	go func() { <-l.mux.CloseChan(); l.wakeReaders() }()
	return l, nil
}

// end closes the session. Until yamux has closed a stream, whoever reads from it
// would turn in circles: a thousand readers kept two processors from closing
// anything for minutes.
func (l *link) end() {
	l.wakeReaders()
	_ = l.mux.Close()
}

// wakeReaders has every read end at once.
func (l *link) wakeReaders() {
	l.ending.Store(true)
	l.mu.Lock()
	var open []*Conn
	for _, f := range l.flows {
		if f.conn != nil {
			open = append(open, f.conn)
		}
	}
	l.mu.Unlock()
	for _, c := range open {
		_ = c.stream.SetReadDeadline(time.Unix(1, 0))
	}
}

// over reports whether the session has ended, or is about to.
func (l *link) over() bool { return l.ending.Load() || l.mux.IsClosed() }

// control is the first stream of a session, which the server opens.
func (l *link) control(client bool) (*yamux.Stream, error) {
	if client {
		return l.mux.OpenStream()
	}
	return l.mux.AcceptStream()
}

// tell sends what was granted and what is given back, all that has gathered at
// once.
func (l *link) tell(control *yamux.Stream) {
	for {
		select {
		case <-l.wake:
		case <-l.mux.CloseChan():
			return
		}
		if out := l.messages(); len(out) > 0 {
			if _, err := control.Write(out); err != nil {
				l.end()
				return
			}
		}
	}
}

// watch does what is done at every tick. It waits for nobody: a tunnel whose other
// side does not read any more must end, too.
func (l *link) watch() {
	tick := time.NewTicker(tickTime)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-l.mux.CloseChan():
			return
		}
		if !l.alive() {
			l.end()
			return
		}
		if l.returnUnused() {
			l.ring()
		}
	}
}

// measure asks for a sign of life at every heartbeat, and keeps an eye on how long
// a round trip takes.
func (l *link) measure() {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		if took, err := l.mux.Ping(); err == nil {
			l.round.Store(int64(min(took, time.Second)))
		}
		select {
		case <-tick.C:
		case <-l.mux.CloseChan():
			return
		}
	}
}

// alive is asked at every tick. The other side is dead when nothing at all has
// come from it for two heartbeats; ticks, and no clock, so that a process that
// was itself frozen does not take the others for dead.
func (l *link) alive() bool {
	if n := l.heard.Load(); n != l.heardBefore {
		l.heardBefore, l.quiet = n, 0
		return true
	}
	l.quiet++
	return l.quiet < int(2*heartbeat/tickTime)
}

func (l *link) messages() (out []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, n := range l.pending {
		out = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(out, id), n)
	}
	for id, n := range l.unused {
		out = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(out, id), n|returned)
	}
	clear(l.pending)
	clear(l.unused)
	return out
}

// returnUnused gives back the credit of streams on which nothing was sent since
// the last time, but for what a stream begins with. It reports whether there is
// something to tell.
func (l *link) returnUnused() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, f := range l.flows {
		if free := f.allowed - f.sent; f.sent == f.before && free > uint64(l.theirs) && f.conn != nil {
			more := min(free-uint64(l.theirs), returned-1) // whoever grants more than that means no good
			f.allowed -= more
			l.unused[id] += uint32(more)
		}
		f.before = f.sent
	}
	return len(l.unused) > 0
}

func (l *link) listen(control *yamux.Stream) {
	defer l.broken()
	var message [controlSize]byte
	for {
		if _, err := io.ReadFull(control, message[:]); err != nil {
			return
		}
		id, n := binary.BigEndian.Uint32(message[:4]), binary.BigEndian.Uint32(message[4:])
		switch {
		case id != 0 && n&returned != 0:
			if !l.takeBack(id, n&^returned) {
				return
			}
			continue
		case id != 0:
			l.credit(id, n)
			continue
		}
		if n == drainNow && !l.draining.Swap(true) && l.drained != nil {
			l.drained()
		}
	}
}

// broken ends what still goes through a tunnel that has ended.
func (l *link) broken() {
	l.end()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.flows {
		if f.conn != nil && f.conn.gone != nil {
			go f.conn.gone()
		}
	}
}

func (l *link) ring() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// drain tells the other side to begin nothing new here.
func (l *link) drain() {
	l.mu.Lock()
	l.pending[0] = drainNow
	l.mu.Unlock()
	l.ring()
}

func (l *link) credit(id, n uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.flows[id]; f != nil {
		f.allowed += uint64(n)
		if f.conn != nil {
			f.conn.notify()
		}
	}
}

// takeBack takes credit back that the other side has not used. It reports false
// where it had none.
func (l *link) takeBack(id, n uint32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.flows[id]
	if f == nil {
		return true // it has ended meanwhile
	}
	if f.granted-f.received < uint64(n) {
		return false
	}
	f.granted -= uint64(n)
	f.window = max(l.window, uint32(f.granted-f.consumed)) // begins anew from what it still has
	l.letGo(f)
	return true
}

// letGo gives back to the budget what a stream does not need any more, once
// yamux's buffer is empty and can be freed.
func (l *link) letGo(f *flow) {
	if need := f.window - l.window; f.held > need && f.received == f.consumed && f.conn != nil {
		go f.conn.stream.Shrink() // yamux fills the buffer under the same lock, and asks us meanwhile whether it may
		l.budget.give(f.held - need)
		f.held = need
	}
}

// flow returns the record of a stream, new where there is none; nil where there
// are too many. It is called under mu.
func (l *link) flow(id uint32) *flow {
	f := l.flows[id]
	if f == nil && len(l.flows) < maxRecords {
		f = &flow{granted: uint64(l.window), window: l.window, allowed: uint64(l.theirs)}
		l.flows[id] = f
	}
	return f
}

// adopt makes a stream one of ours.
func (l *link) adopt(s *yamux.Stream) *Conn {
	c := &Conn{link: l, stream: s, more: make(chan struct{}, 1), done: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.flow = l.flow(s.StreamID()); c.flow == nil { // the guard ends the session with the next frame
		c.flow = &flow{}
	}
	c.flow.conn = c
	if c.flow.since.IsZero() {
		c.flow.since = l.now()
	}
	return c
}

// streams returns how many streams are open.
func (l *link) streams() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, f := range l.flows {
		if f.conn != nil {
			n++
		}
	}
	return n
}

// consumed grants anew where half of a window has been taken.
func (l *link) consumed(c *Conn, n int) {
	l.in.Add(int64(n))
	l.mu.Lock()
	more := l.grant(c, n)
	l.mu.Unlock()
	if more {
		l.ring()
	}
}

// grant is called under mu. It reports whether there is something to tell.
func (l *link) grant(c *Conn, n int) bool {
	f := c.flow
	f.consumed += uint64(n)
	left := uint32(f.granted - f.consumed)
	if left > f.window/2 || f.closed || f.remoteClosed {
		return false
	}
	now := l.now()
	l.tune(f, now.Sub(f.since))
	f.since = now
	if f.window <= left {
		return false
	}
	f.granted += uint64(f.window - left)
	l.pending[c.stream.StreamID()] += f.window - left
	return true
}

// tune doubles the window of a stream whose bytes are taken quickly, and halves
// that of one whose are not any more.
func (l *link) tune(f *flow, took time.Duration) {
	switch {
	case took < growTime+2*time.Duration(l.round.Load()) && f.window < maxWindow:
		grow, proven := min(f.window, maxWindow-f.window), f.consumed >= muchMoved
		if !proven && f.window+grow > freeWindow {
			return
		}
		need := f.window + grow - l.window
		if f.held >= need {
			f.window += grow
		} else if l.budget.take(need-f.held, need, proven) {
			f.window += grow
			f.held = need
		}
	case took > shrinkTime && f.window > l.window:
		f.window = max(l.window, f.window/2)
		l.letGo(f)
	}
}

// received counts a frame of data; an error ends the session.
func (l *link) received(id, n uint32, fin, rst bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.flow(id)
	if f == nil {
		return errExceeded
	}
	f.received += uint64(n)
	if id != controlID && f.received > f.granted {
		return errExceeded
	}
	f.remoteClosed = f.remoteClosed || fin || rst
	if f.conn != nil {
		f.conn.awake()
	}
	if fin || rst {
		if c := f.conn; c != nil {
			c.notify()
			if c.gone != nil {
				go c.gone()
			}
			go func() { _ = c.stream.Close() }() // nothing is written any more, and who waits for our end resets what has not been read
		}
		if f.closed {
			delete(l.flows, id)
		}
	}
	return nil
}

const controlID = 1

// ended forgets a stream that we have closed, once the other side has too.
func (l *link) ended(c *Conn) {
	id := c.stream.StreamID()
	l.mu.Lock()
	defer l.mu.Unlock()
	f := c.flow
	f.closed, f.conn = true, nil
	delete(l.pending, id)
	delete(l.unused, id)
	l.budget.give(f.held)
	f.window, f.held = l.window, 0
	if f.remoteClosed {
		delete(l.flows, id)
		return
	}
	time.AfterFunc(closeWait+time.Second, func() { // yamux has reset it by then
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.flows[id] == f {
			delete(l.flows, id)
		}
	})
}

// Conn is one connection through a tunnel.
type Conn struct {
	link   *link
	stream *yamux.Stream
	flow   *flow

	writing  sync.Mutex
	more     chan struct{} // credit, a deadline or an end
	deadline atomic.Int64  // of writing, nanoseconds since 1970; 0: none
	once     sync.Once
	done     chan struct{}
	onClose  func() // set before anybody else knows the Conn
	gone     func() // under the link's mu: called when the other side has ended

	data    func() // under the link's mu: see whenData
	readers sync.WaitGroup
}

// whenData has do called, in a goroutine of its own, when there is something to
// read or the other side has ended, but never twice at once: who waits for the
// other side needs no goroutine. do reads with take until that returns false.
func (c *Conn) whenData(do func()) {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	c.data = do
	if c.flow.received > c.flow.consumed || c.flow.remoteClosed {
		c.awake()
	}
}

// awake is called under the link's mu.
func (c *Conn) awake() {
	if c.data == nil || c.flow.reading {
		return
	}
	c.flow.reading = true
	c.readers.Go(c.data)
}

// waiting returns how much there is to read; where there is nothing the next
// that comes is a matter for whenData again.
func (c *Conn) waiting() (n int, ended bool) {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	n, ended = int(c.flow.received-c.flow.consumed), c.flow.remoteClosed
	c.flow.reading = n > 0 || ended
	return n, ended
}

// whenGone has do called when the other side ends the stream, or the tunnel breaks.
func (c *Conn) whenGone(do func()) {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	c.gone = do
	if c.flow.remoteClosed || c.link.mux.IsClosed() {
		go do()
	}
}

func (c *Conn) notify() {
	select {
	case c.more <- struct{}{}:
	default:
	}
}

// Read reads what the other side has sent, and grants it more.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.read(b)
	if n > 0 {
		c.link.consumed(c, n)
	}
	return n, err
}

// read reads and grants nothing yet.
func (c *Conn) read(b []byte) (int, error) {
	n, err := c.stream.Read(b)
	if err != nil && !errors.Is(err, io.EOF) && c.link.over() {
		err = &Error{Code: Lost, Err: err}
	}
	if errors.Is(err, io.EOF) && c.link.over() && !c.remoteClosed() {
		err = &Error{Code: Lost, Err: io.ErrUnexpectedEOF}
	}
	return n, err
}

// isGone reports whether the other side has ended the stream, or the tunnel.
func (c *Conn) isGone() bool { return c.remoteClosed() || c.link.mux.IsClosed() }

func (c *Conn) remoteClosed() bool {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	return c.flow.remoteClosed
}

// Write sends b as the other side grants it.
func (c *Conn) Write(b []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	total := 0
	for len(b) > 0 {
		free, err := c.credit()
		if err != nil {
			return total, err
		}
		if free = c.claim(min(len(b), free, chunk)); free == 0 {
			continue
		}
		n, err := c.send(b[:free])
		total += n
		if err != nil {
			return total, err
		}
		b = b[n:]
	}
	return total, nil
}

// credit waits until something may be sent and returns how much.
func (c *Conn) credit() (int, error) {
	for {
		c.link.mu.Lock()
		free, gone := c.flow.allowed-c.flow.sent, c.flow.remoteClosed
		c.link.mu.Unlock()
		select {
		case <-c.done:
			return 0, net.ErrClosed
		default:
		}
		if gone {
			return 0, io.ErrClosedPipe
		}
		if free > 0 {
			return int(min(free, chunk)), nil
		}
		if err := c.wait(); err != nil {
			return 0, err
		}
	}
}

// claim uses credit, as far as it has not been given back meanwhile.
func (c *Conn) claim(n int) int {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	n = min(n, int(c.flow.allowed-c.flow.sent))
	c.flow.sent += uint64(n)
	return n
}

func (c *Conn) wait() error {
	var timeout <-chan time.Time
	if at := c.deadline.Load(); at != 0 {
		timer := time.NewTimer(time.Until(time.Unix(0, at)))
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-c.more:
		return nil
	case <-c.done:
		return net.ErrClosed
	case <-c.link.mux.CloseChan():
		return &Error{Code: Lost, Err: io.ErrUnexpectedEOF}
	case <-timeout:
		return os.ErrDeadlineExceeded
	}
}

// send writes one frame. Who waits for the network waits here, in turn: yamux
// would give up after its timeout where many wait behind a slow line.
func (c *Conn) send(b []byte) (int, error) {
	select {
	case c.link.writers <- struct{}{}:
	case <-c.link.mux.CloseChan():
		return 0, &Error{Code: Lost, Err: io.ErrUnexpectedEOF}
	}
	n, err := c.stream.Write(b)
	<-c.link.writers
	c.link.out.Add(int64(n))
	if err != nil && c.link.mux.IsClosed() {
		err = &Error{Code: Lost, Err: err}
	}
	return n, err
}

// Close ends both directions. What was written before still arrives.
func (c *Conn) Close() error {
	c.once.Do(func() {
		close(c.done)
		c.link.ended(c)
		_ = c.stream.Close()
		if c.onClose != nil {
			c.onClose()
		}
	})
	return nil
}

// LocalAddr names the tunnel.
func (c *Conn) LocalAddr() net.Addr { return addr{} }

// RemoteAddr names the tunnel.
func (c *Conn) RemoteAddr() net.Addr { return addr{} }

type addr struct{}

func (addr) Network() string { return "tunnel" }
func (addr) String() string  { return "tunnel" }

// SetDeadline sets both.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline bounds Read.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.stream.SetReadDeadline(t) }

// SetWriteDeadline bounds the waiting of Write for credit.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	at := int64(0)
	if !t.IsZero() {
		at = max(1, t.UnixNano())
	}
	c.deadline.Store(at)
	c.notify()
	return nil
}

// guard reads along what yamux receives, to hold the other side to its credit,
// and puts the two halves of each frame that yamux writes into one message.
type guard struct {
	net.Conn
	ws   *websocket.Conn
	link *link
	head [12]byte // of the frame that is being read
	have int
	skip uint32 // bytes of its data that are still to come
	out  []byte
}

// The head of a yamux frame: version, type, flags (2), stream (4), length (4).
const (
	frameData = 0
	flagSYN   = 1
	flagFIN   = 4
	flagRST   = 8
)

// Close does not wait for the other side to agree: it may be dead.
func (g *guard) Close() error { return g.ws.CloseNow() }

func (g *guard) Read(b []byte) (int, error) {
	n, err := g.Conn.Read(b)
	g.link.heard.Add(1)
	if n > 0 {
		if bad := g.parse(b[:n]); bad != nil {
			return 0, bad
		}
	}
	return n, err
}

func (g *guard) parse(b []byte) error {
	for len(b) > 0 {
		if g.skip > 0 {
			n := min(int(g.skip), len(b))
			g.skip -= uint32(n)
			b = b[n:]
			continue
		}
		n := copy(g.head[g.have:], b)
		g.have, b = g.have+n, b[n:]
		if g.have < len(g.head) {
			return nil
		}
		g.have = 0
		if err := g.frame(); err != nil {
			return err
		}
	}
	return nil
}

func (g *guard) frame() error {
	flags := binary.BigEndian.Uint16(g.head[2:])
	id, length := binary.BigEndian.Uint32(g.head[4:]), binary.BigEndian.Uint32(g.head[8:])
	switch kind := g.head[1]; {
	case kind > 3:
		return errMessage
	case kind > 1: // ping and go away are of no stream
		return nil
	case kind != frameData:
		if flags&(flagSYN|flagFIN|flagRST) == 0 {
			return nil
		}
		length = 0
	}
	if g.link.opens && flags&flagSYN != 0 { // nobody would take it
		return errMessage
	}
	g.skip = length
	return g.link.received(id, length, flags&flagFIN != 0, flags&flagRST != 0)
}

func (g *guard) Write(b []byte) (int, error) {
	if len(g.out) == 0 && len(b) == len(g.head) && b[1] == frameData && binary.BigEndian.Uint32(b[8:]) > 0 {
		g.out = append(g.out, b...)
		return len(b), nil
	}
	if len(g.out) == 0 {
		return g.Conn.Write(b)
	}
	g.out = append(g.out, b...)
	_, err := g.Conn.Write(g.out)
	g.out = g.out[:0]
	if err != nil {
		return 0, err
	}
	return len(b), nil
}
