//! A proxy between a client and its server that does what networks do, when it is told to.
//!
//! It runs in threads of its own, so that it goes on whatever the test's runtime waits for.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// A proxy; all its connections end with it.
#[derive(Debug)]
pub struct Proxy {
    /// The port that it listens on.
    pub port: u16,
    shared: Arc<Shared>,
}

/// A fault of the network.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "tests name them all")]
pub enum Fault {
    /// Nothing wrong.
    None,
    /// Delays each chunk by so much, in both directions.
    Delay(Duration),
    /// Replies come byte by byte, so long apart.
    Drip(Duration),
    /// Requests arrive; their replies do not.
    SwallowReplies,
    /// Instead of replies comes this, whenever there is one.
    Garbage(&'static [u8]),
    /// The server's side closes what it sends, and goes on to read.
    HalfClose,
    /// The connection is reset when a request comes, which the server never sees.
    ResetBefore,
    /// The connection is closed when a reply comes, which the client never sees.
    ResetAfter,
    /// Nothing arrives, and nobody says so; what was connected then is lost for good.
    BlackHole,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    fault: Fault,
    target: u16,
    accepted: usize,
    is_over: bool,
    open: Vec<TcpStream>,
}

impl Proxy {
    /// Starts one before the server at a port of this host.
    pub fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let (fault, accepted, open) = (Fault::None, 0, Vec::new());
        let state = State { fault, target, accepted, is_over: false, open };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accept(&accepting, &listener));
        Self { port, shared }
    }

    /// Returns the URL for clients.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Does this from now on, to old connections and to new.
    pub fn set(&self, fault: Fault) {
        self.shared.lock().fault = fault;
        self.shared.changed.notify_all();
    }

    /// New connections lead to the server at this port.
    pub fn lead_to(&self, target: u16) {
        self.shared.lock().target = target;
    }

    /// Closes all connections there are.
    pub fn cut(&self) {
        for stream in self.shared.lock().open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Returns the number of connections so far.
    pub fn accepted(&self) -> usize {
        self.shared.lock().accepted
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.changed.notify_all();
        self.cut();
        // Whoever accepts looks whether it is over.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self) -> Fault {
        self.lock().fault
    }

    /// Waits until there is no black hole.
    fn wait_out(&self) {
        let is_stuck = |state: &mut State| state.fault == Fault::BlackHole && !state.is_over;
        drop(self.changed.wait_while(self.lock(), is_stuck));
    }
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    for client in listener.incoming() {
        let mut state = shared.lock();
        if state.is_over {
            return;
        }
        state.accepted += 1;
        let server = TcpStream::connect(("127.0.0.1", state.target));
        // A server that is gone refuses, and so does the way to it.
        let (Ok(client), Ok(server)) = (client, server) else { continue };
        for stream in [&client, &server] {
            let _ = stream.set_nodelay(true);
            state.open.push(clone(stream));
        }
        let (back, forth) = ((clone(&server), clone(&client)), (client, server));
        let [there, here] = [Arc::clone(shared), Arc::clone(shared)];
        thread::spawn(move || pump(&there, &forth.0, &forth.1, request));
        thread::spawn(move || pump(&here, &back.0, &back.1, reply));
    }
}

fn clone(stream: &TcpStream) -> TcpStream {
    stream.try_clone().expect("it is open")
}

type Carry = fn(&Shared, &[u8], &TcpStream) -> io::Result<()>;

/// Carries what comes until there is no more, or something is wrong.
fn pump(shared: &Shared, mut from: &TcpStream, to: &TcpStream, carry: Carry) {
    let mut buffer = vec![0; 64 * 1_024];
    // Looking first leaves unread what is never to be: closing then is a reset.
    while let Ok(1..) = from.peek(&mut buffer) {
        if matches!(shared.fault(), Fault::BlackHole) {
            shared.wait_out();
            break;
        }
        if matches!(shared.fault(), Fault::ResetBefore) {
            break;
        }
        let Ok(length @ 1..) = from.read(&mut buffer) else { break };
        if carry(shared, &buffer[..length], to).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

fn request(shared: &Shared, chunk: &[u8], mut server: &TcpStream) -> io::Result<()> {
    if let Fault::Delay(delay) = shared.fault() {
        thread::sleep(delay);
    }
    server.write_all(chunk)
}

fn reply(shared: &Shared, chunk: &[u8], mut client: &TcpStream) -> io::Result<()> {
    match shared.fault() {
        Fault::SwallowReplies => Ok(()),
        Fault::Garbage(garbage) => client.write_all(garbage),
        Fault::HalfClose => client.shutdown(Shutdown::Write),
        Fault::ResetAfter => Err(io::ErrorKind::ConnectionReset.into()),
        Fault::Drip(pause) => chunk.iter().try_for_each(|byte| {
            thread::sleep(pause);
            client.write_all(&[*byte])
        }),
        Fault::Delay(delay) => {
            thread::sleep(delay);
            client.write_all(chunk)
        }
        _ => client.write_all(chunk),
    }
}
