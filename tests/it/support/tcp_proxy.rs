//! A TCP proxy between the program and PostgreSQL that does what a bad network or server does, by a script.
//!
//! A rule names a connection by the purpose in its `application_name` (`copy`, `snapshot`, `client program`, ...) and by its
//! number among those, and says what befalls it: refused, hung, slowed, cut after so many bytes, a byte changed on its way.
//! The rest passes. Each connection has two threads of plain blocking I/O; all end with the proxy. It declines TLS as a
//! server without does, unless told to pass it on: then every connection's purpose is `encrypted`.
//!
//! Byte counts come from a [`Seed`] that a failing test prints; with `KUBEBACKUP_TEST_SEED` the same run comes again.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    ToServer,
    ToClient,
}

/// What befalls a connection. Bytes are counted from the first one after the start-up message, each way by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Closed before a byte is answered.
    Refuse,
    /// After so many bytes nothing more passes this way, and nobody is told.
    Hang(Way, u64),
    /// At most so many bytes at a time, with a pause of five milliseconds after each.
    Slow(Way, usize),
    /// After so many bytes both sides are closed.
    Cut(Way, u64),
    /// The byte of this number is combined with the mask by exclusive or.
    Corrupt(Way, u64, u8),
}

/// Connections of a purpose, and what befalls them.
#[derive(Clone, Copy, Debug)]
struct Rule {
    /// What follows `kubebackup ` in the application's name; all connections when empty.
    purpose: &'static str,
    /// Among those of the purpose, from 0; each of them when none.
    number: Option<usize>,
    fault: Fault,
    /// Connections of the purpose so far.
    seen: usize,
}

/// A running proxy; dropped, it closes everything.
pub(crate) struct TcpProxy {
    port: u16,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    /// The port that new connections lead to.
    upstream: AtomicU16,
    passes_tls: bool,
    stopped: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    /// How often they were cleared.
    cleared: usize,
    /// Every connection with its fault, for who reads a failure.
    log: Vec<String>,
    /// Bytes that have passed to clients, by purpose.
    passed: HashMap<String, u64>,
    /// What passed to clients of a purpose, where that is recorded.
    recorded: HashMap<String, Vec<u8>>,
    recording: Option<&'static str>,
    /// Faults that have struck.
    struck: usize,
    open: Vec<TcpStream>,
    pumps: Vec<JoinHandle<()>>,
}

impl TcpProxy {
    /// In front of `127.0.0.1:<upstream>`.
    pub(crate) fn start(upstream: u16) -> Self {
        Self::new(upstream, false)
    }

    /// The same, and encrypted connections are passed on.
    pub(crate) fn start_for_tls(upstream: u16) -> Self {
        Self::new(upstream, true)
    }

    fn new(upstream: u16, passes_tls: bool) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            upstream: AtomicU16::new(upstream),
            passes_tls,
            stopped: AtomicBool::new(false),
            state: Mutex::default(),
        });
        let accepting = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Self {
            port,
            shared,
            accepting: Some(accepting),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// From now on `fault` befalls the connection of this number among those of `purpose`, counted from now; each of them
    /// when `number` is none. The last rule that fits decides.
    pub(crate) fn on(&self, purpose: &'static str, number: impl Into<Option<usize>>, fault: Fault) {
        self.shared.state().rules.push(Rule {
            purpose,
            number: number.into(),
            fault,
            seen: 0,
        });
    }

    /// From now on everything passes, and what was slow at full speed; what hangs goes on hanging.
    pub(crate) fn clear(&self) {
        let mut state = self.shared.state();
        state.rules.clear();
        state.cleared += 1;
    }

    /// New connections lead there from now on; those that are open stay where they are.
    pub(crate) fn lead_to(&self, upstream: u16) {
        self.shared.upstream.store(upstream, Ordering::SeqCst);
    }

    /// Closes every connection that is open.
    pub(crate) fn cut_all(&self) {
        for stream in self.shared.state().open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// From now on keeps what passes to clients of exactly this purpose.
    pub(crate) fn record(&self, purpose: &'static str) {
        self.shared.state().recording = Some(purpose);
    }

    /// Ends the recording.
    pub(crate) fn recorded(&self) -> Vec<u8> {
        let mut state = self.shared.state();
        let purpose = state.recording.take().unwrap();
        state.recorded.remove(purpose).unwrap_or_default()
    }

    /// How often a fault has struck.
    pub(crate) fn struck(&self) -> usize {
        self.shared.state().struck
    }

    /// Bytes that have passed to clients whose purpose contains this.
    pub(crate) fn passed(&self, purpose: &str) -> u64 {
        let state = self.shared.state();
        let fitting = state.passed.iter().filter(|(name, _)| name.contains(purpose));
        fitting.map(|(_, bytes)| bytes).sum()
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the proxy saw: {}", self.shared.state().log.join("; "));
        }
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for connections.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        self.cut_all();
        let pumps = std::mem::take(&mut self.shared.state().pumps);
        for pump in pumps {
            let _ = pump.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(&self) -> std::io::Result<TcpStream> {
        let server = TcpStream::connect(("127.0.0.1", self.upstream.load(Ordering::SeqCst)))?;
        self.state().open.extend(server.try_clone());
        Ok(server)
    }

    /// The fault of a new connection of this purpose.
    fn fault_of(&self, purpose: &str) -> Fault {
        let mut state = self.state();
        let mut fault = Fault::None;
        for rule in state.rules.iter_mut().filter(|rule| purpose.contains(rule.purpose)) {
            if rule.number.is_none_or(|number| number == rule.seen) {
                fault = rule.fault;
            }
            rule.seen += 1;
        }
        state.log.push(format!("{purpose}: {fault:?}"));
        fault
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(client) = client else { continue };
        // Before it is served: what never speaks would keep its thread for ever.
        shared.state().open.extend(client.try_clone());
        let serving = std::thread::spawn({
            let shared = Arc::clone(shared);
            move || drop(serve(client, &shared))
        });
        shared.state().pumps.push(serving);
    }
}

/// One connection from its start-up message to its end.
fn serve(mut client: TcpStream, shared: &Arc<Shared>) -> std::io::Result<()> {
    let start = begin(&mut client, shared)?;
    let fault = shared.fault_of(&start.purpose);
    if fault == Fault::Refuse {
        shared.state().struck += 1;
        return client.shutdown(Shutdown::Both);
    }
    let mut server = match start.server {
        Some(server) => server,
        None => shared.connect()?,
    };
    server.write_all(&start.message)?;
    let ended = Arc::new(AtomicBool::new(false));
    let pump = |way, from: &TcpStream, to: &TcpStream| {
        let pump = Pump {
            way,
            fault,
            purpose: start.purpose.clone(),
            from: from.try_clone()?,
            to: to.try_clone()?,
            ended: Arc::clone(&ended),
            cleared: shared.state().cleared,
            shared: Arc::clone(shared),
        };
        Ok::<_, std::io::Error>(pump)
    };
    let there = pump(Way::ToServer, &client, &server)?;
    let back = pump(Way::ToClient, &server, &client)?;
    let there = std::thread::spawn(move || there.run());
    back.run();
    let _ = there.join();
    Ok(())
}

/// How a connection begins.
struct Start {
    purpose: String,
    /// The start-up message (or a request to cancel) as it came; empty where it comes encrypted.
    message: Vec<u8>,
    /// Where the server had to be asked for TLS.
    server: Option<TcpStream>,
}

fn begin(client: &mut TcpStream, shared: &Shared) -> std::io::Result<Start> {
    const SSL_REQUEST: u32 = 80_877_103;
    const GSS_REQUEST: u32 = 80_877_104;
    loop {
        let mut head = [0; 8];
        client.read_exact(&mut head)?;
        let word = |from: usize| u32::from_be_bytes([head[from], head[from + 1], head[from + 2], head[from + 3]]);
        match word(4) {
            SSL_REQUEST if shared.passes_tls => return begin_tls(client, shared, &head),
            SSL_REQUEST | GSS_REQUEST => client.write_all(b"N")?,
            _ => return start_up(client, &head, word(0) as usize),
        }
    }
}

fn begin_tls(client: &mut TcpStream, shared: &Shared, request: &[u8]) -> std::io::Result<Start> {
    let mut server = shared.connect()?;
    server.write_all(request)?;
    let mut answer = [0; 1];
    server.read_exact(&mut answer)?;
    client.write_all(&answer)?;
    Ok(Start {
        purpose: "encrypted".to_owned(),
        message: Vec::new(),
        server: Some(server),
    })
}

fn start_up(client: &mut TcpStream, head: &[u8], length: usize) -> std::io::Result<Start> {
    if !(8..65_536).contains(&length) {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut message = head.to_vec();
    message.resize(length, 0);
    client.read_exact(&mut message[8..])?;
    let words: Vec<&[u8]> = message[8..].split(|byte| *byte == 0).collect();
    let named = words.windows(2).find(|pair| pair[0] == b"application_name");
    let application = named.map_or_else(String::new, |pair| String::from_utf8_lossy(pair[1]).into_owned());
    Ok(Start {
        purpose: application.trim_start_matches("kubebackup ").to_owned(),
        message,
        server: None,
    })
}

/// One direction of a connection.
struct Pump {
    way: Way,
    fault: Fault,
    purpose: String,
    from: TcpStream,
    to: TcpStream,
    /// One of the two directions is over.
    ended: Arc<AtomicBool>,
    /// What the proxy's was when the connection came.
    cleared: usize,
    shared: Arc<Shared>,
}

impl Pump {
    /// What has been read goes out before the other side is told of the end.
    fn run(mut self) {
        if self.copy().is_err() {
            let _ = self.from.shutdown(Shutdown::Both);
        }
        let _ = self.to.shutdown(Shutdown::Write);
        self.ended.store(true, Ordering::SeqCst);
    }

    fn copy(&mut self) -> std::io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        let mut passed = 0;
        loop {
            let room = self.room(passed, buffer.len());
            if room == 0 {
                return self.strike();
            }
            let read = self.from.read(&mut buffer[..room])?;
            if read == 0 {
                return Ok(());
            }
            self.corrupt(passed, &mut buffer[..read]);
            self.to.write_all(&buffer[..read])?;
            passed += read as u64;
            if self.way == Way::ToClient {
                self.note(&buffer[..read]);
            }
            self.pause();
        }
    }

    fn note(&self, bytes: &[u8]) {
        let mut state = self.shared.state();
        *state.passed.entry(self.purpose.clone()).or_default() += bytes.len() as u64;
        if state.recording == Some(self.purpose.as_str()) {
            state.recorded.entry(self.purpose.clone()).or_default().extend(bytes);
        }
    }

    /// How many bytes may be taken now.
    fn room(&self, passed: u64, most: usize) -> usize {
        match self.fault {
            Fault::Hang(way, after) | Fault::Cut(way, after) if way == self.way => {
                usize::try_from(after.saturating_sub(passed)).unwrap_or(most).min(most)
            }
            Fault::Slow(_, bytes) if self.is_slow() => bytes.min(most),
            _ => most,
        }
    }

    /// The limit of a cut or a hang is reached.
    fn strike(&self) -> std::io::Result<()> {
        self.shared.state().struck += 1;
        if matches!(self.fault, Fault::Cut(..)) {
            let _ = self.to.shutdown(Shutdown::Both);
            return Err(ErrorKind::ConnectionAborted.into());
        }
        // Nothing is read any more, so that the sender's buffers fill up, until the other side hangs up.
        while !self.ended.load(Ordering::SeqCst) && !self.shared.stopped.load(Ordering::SeqCst) {
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Err(ErrorKind::ConnectionAborted.into())
    }

    fn corrupt(&self, passed: u64, bytes: &mut [u8]) {
        let Fault::Corrupt(way, at, mask) = self.fault else {
            return;
        };
        let within = at.checked_sub(passed).and_then(|at| usize::try_from(at).ok());
        if let Some(byte) = within.filter(|_| way == self.way).and_then(|at| bytes.get_mut(at)) {
            *byte ^= mask;
            self.shared.state().struck += 1;
        }
    }

    fn pause(&self) {
        if self.is_slow() {
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    fn is_slow(&self) -> bool {
        matches!(self.fault, Fault::Slow(way, _) if way == self.way) && self.shared.state().cleared == self.cleared
    }
}

/// Choices of one test (`SplitMix64`). Dropped by a failing test, it says how to have them again.
pub(crate) struct Seed {
    first: u64,
    next: u64,
}

impl Seed {
    /// From `KUBEBACKUP_TEST_SEED`, else another one each time.
    pub(crate) fn new() -> Self {
        let given = std::env::var("KUBEBACKUP_TEST_SEED").ok();
        let first = given.map_or_else(|| RandomState::new().hash_one(0), |seed| seed.parse().unwrap());
        Self { first, next: first }
    }

    /// Less than `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next = self.next.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.next;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("again: KUBEBACKUP_TEST_SEED={}", self.first);
        }
    }
}
