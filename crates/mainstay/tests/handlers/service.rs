//! A web service that answers what the test says, byte by byte.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use serde_json::Value;

use crate::server::PATIENCE;

/// A service on a port of its own, until the test's process ends.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    events: mpsc::Receiver<Event>,
}

/// What a service saw.
#[derive(Debug)]
pub(crate) enum Event {
    Posted(Post),
    /// The other side ended the connection while it waited for an answer.
    Dropped,
}

/// One POST.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) path: String,
    /// By their names in small letters.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Value,
    /// The how manieth connection it came by, from 1.
    pub(crate) connection: usize,
}

/// What a service does with a POST.
pub(crate) enum Reply {
    /// Answers with a status line's rest, a media type and a body.
    Answer(&'static str, &'static str, String),
    /// Says exactly this, and ends the connection.
    Raw(String),
    /// Says nothing until the other side gives up.
    Nothing,
}

impl Service {
    /// Starts one whose replies come of the number of the POST, from 1, and of the POST.
    pub(crate) fn start<F>(reply: F) -> Service
    where
        F: Fn(usize, &Post) -> Reply + Send + Sync + 'static,
    {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Service::start_on(any, reply)
    }

    pub(crate) fn start_on<F>(address: SocketAddr, reply: F) -> Service
    where
        F: Fn(usize, &Post) -> Reply + Send + Sync + 'static,
    {
        let listener = TcpListener::bind(address).expect("a port");
        let address = listener.local_addr().expect("an address");
        let (sender, events) = mpsc::channel();
        let reply = Arc::new(reply);
        let post_count = Arc::new(AtomicUsize::new(0));
        thread::spawn(move || {
            for (index, stream) in listener.incoming().enumerate() {
                let (reply, sender) = (reply.clone(), sender.clone());
                let (stream, post_count) = (stream.expect("accepted"), post_count.clone());
                thread::spawn(move || {
                    let mut reader = BufReader::new(stream);
                    while let Some(post) = read_post(&mut reader, index + 1) {
                        let number = post_count.fetch_add(1, Ordering::SeqCst) + 1;
                        let reply = reply(number, &post);
                        let _ = sender.send(Event::Posted(post));
                        if !act(reply, &mut reader, &sender) {
                            return;
                        }
                    }
                });
            }
        });
        Service { address, events }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The next thing that it sees.
    pub(crate) fn event(&self) -> Event {
        self.events.recv_timeout(PATIENCE).expect("something happens")
    }

    #[track_caller]
    pub(crate) fn post(&self) -> Post {
        match self.event() {
            Event::Posted(post) => post,
            other => panic!("{other:?} is no POST"),
        }
    }

    #[track_caller]
    pub(crate) fn assert_idle(&self) {
        if let Ok(event) = self.events.try_recv() {
            panic!("nothing was to happen, and {event:?} did");
        }
    }
}

impl Reply {
    pub(crate) fn json(body: &str) -> Reply {
        Reply::Answer("200 OK", "application/json", body.to_owned())
    }
}

/// Whether the connection goes on.
fn act(reply: Reply, reader: &mut BufReader<TcpStream>, events: &mpsc::Sender<Event>) -> bool {
    match reply {
        Reply::Answer(status, media_type, body) => {
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\ncontent-type: {media_type}\r\n");
            let answer = format!("{head}content-length: {length}\r\n\r\n{body}");
            reader.get_mut().write_all(answer.as_bytes()).is_ok()
        }
        Reply::Raw(bytes) => {
            let _ = reader.get_mut().write_all(bytes.as_bytes());
            false
        }
        Reply::Nothing => {
            let mut byte = [0];
            // The end, or a reset: whatever comes is no further request.
            let _ = reader.read(&mut byte);
            let _ = events.send(Event::Dropped);
            false
        }
    }
}

fn read_post(reader: &mut BufReader<TcpStream>, connection: usize) -> Option<Post> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
    let path = line.strip_prefix("POST ").expect("a POST").split(' ').next().expect("a path");
    let path = path.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").expect("a length").parse().expect("a number");
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = serde_json::from_slice(&body).expect("JSON");
    Some(Post { path, headers, body, connection })
}
