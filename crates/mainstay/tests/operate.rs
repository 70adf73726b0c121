//! `mainstay send`, `sessions` and `channels` against the HTTP API of a stand-in for a server.

#![expect(clippy::unwrap_used, reason = "a test states its expectations with unwrap")]

use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;

use mainstay_admin::{Access, Answering, History, Options, ServeLimits, Source, Token};
use mainstay_server::session::{
    Delivery, Epoch, ErrorCode, Offset, PresenceMode, Principal, SessionId,
};
use mainstay_server::{
    Answer, Call, CallError, ChannelName, ChannelQuery, ChannelView, ConnectionKey, EndReason,
    Happening, Journal, JournalPage, JournalQuery, LastEnd, MemberView, Note, SessionQuery,
    SessionStanding, SessionView, SubscriptionView, Target,
};
use tokio::sync::watch;

const ID: &str = "8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f";
const SECRET: &str = "0123456789abcdef";

/// Knows one session and more channels than fit on a page.
#[derive(Default)]
struct StandIn {
    calls: Mutex<Vec<Call>>,
}

fn channel(number: usize) -> ChannelView {
    ChannelView {
        name: ChannelName::parse(&format!("c/{number:04}")).unwrap(),
        epoch: Epoch(1),
        first: Offset(1),
        head: Offset(number as u64),
        bytes: 9,
        subscriber_count: 2,
        member_count: 1,
    }
}

fn session() -> SessionView {
    SessionView {
        session: SessionId::from_bytes([0x8f; 16]),
        principal: None,
        standing: SessionStanding::Away { expires_at_ms: 9 },
        client: "evil\u{1b}[31m".to_owned(),
        generation: 3,
        since_ms: 0,
        accepted: 5,
        reply_count: 1,
        command_count: 0,
        subscriptions: vec![SubscriptionView {
            channel: ChannelName::parse("news").unwrap(),
            delivery: Delivery::Every,
            presence: PresenceMode::Join,
            acknowledged: Offset(40),
            lag: 2,
        }],
        is_behind: true,
        last_end: Some(LastEnd { reason: EndReason::PeerEof, at_ms: 7 }),
    }
}

impl Source for StandIn {
    fn call(&self, call: Call) -> Answering {
        self.calls.lock().unwrap().push(call.clone());
        let unreachable = || {
            let message = "there is no such session".to_owned();
            Err(CallError { code: ErrorCode::Unreachable, message })
        };
        let answer = match call {
            // Narrowed by nothing here: the server does that.
            Call::Channels(ChannelQuery { after, count_max, .. }) => {
                let channels = (0..1500).map(channel);
                let behind = channels.filter(|view| after.as_ref().is_none_or(|a| *a < view.name));
                let channels: Vec<_> = behind.take(count_max).collect();
                let next = channels.last().filter(|last| last.head.0 < 1499);
                let next = next.map(|last| last.name.clone());
                Ok(Answer::Channels { channels, next })
            }
            Call::History { .. } => Ok(Answer::History { channel: channel(7), events: Vec::new() }),
            Call::Members { .. } => {
                let member = MemberView { session: session().session, principal: None };
                Ok(Answer::Members(vec![member]))
            }
            // Two pages without a session before the one that has it, as behind many that nobody wants.
            Call::Sessions(SessionQuery { after, .. }) => {
                let next = match after.map(|after| after.as_bytes()[0]) {
                    None => Some(1),
                    Some(1) => Some(2),
                    Some(_) => None,
                };
                let sessions = if next.is_none() { vec![session()] } else { Vec::new() };
                let next = next.map(|byte| SessionId::from_bytes([byte; 16]));
                Ok(Answer::Sessions { sessions, next })
            }
            Call::Session { session: id } if id == session().session => {
                Ok(Answer::Session(Box::new(session())))
            }
            Call::End { session: id } if id == session().session => Ok(Answer::Done),
            Call::Send { .. } | Call::Publish { .. } => {
                Ok(Answer::Published(vec![(channel(7).name, Epoch(1), Offset(42))]))
            }
            _ => unreachable(),
        };
        Box::pin(async move { answer })
    }

    fn watch_head(&self, _: &ChannelName) -> watch::Receiver<Offset> {
        watch::Sender::new(Offset::ZERO).subscribe()
    }

    fn journal(&self, query: &JournalQuery) -> JournalPage {
        let journal = Journal::new(Default::default());
        let connection = Some(ConnectionKey(7));
        let of_session = |note: Note| Note { session: query.session, connection, ..note };
        for number in 0..1200 {
            let note = match number {
                0 => Note { detail: "evil\u{1b}[31m".into(), ..Note::of(Happening::Opened) },
                1 => Note::of(Happening::Lost).because(EndReason::PingTimeout, "silent for 35 s"),
                _ => Note::of(Happening::Resumed),
            };
            journal.note(1_795_512_165_597 + number, of_session(note));
        }
        journal.read(query)
    }
}

/// An API on a port of its own, until the test's process ends.
struct Api {
    stand_in: Arc<StandIn>,
    url: String,
}

impl Api {
    fn start(access: Access) -> Api {
        let stand_in = Arc::new(StandIn::default());
        let options = Options {
            access,
            message_bytes_max: 1000,
            stats: Arc::new(Default::default),
            history: History::default(),
            endpoints: Vec::new(),
            leaving: watch::Sender::new(false).subscribe(),
        };
        let app = mainstay_admin::routes(stand_in.clone(), options);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        listener.set_nonblocking(true).unwrap();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                mainstay_admin::serve(listener, app, ServeLimits::default()).await;
            });
        });
        Api { stand_in, url }
    }

    fn open() -> Api {
        Api::start(Access::Loopback { host: "127.0.0.1".to_owned() })
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        run(arguments, &[("MAINSTAY_ADMIN", &self.url)])
    }
}

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mainstay"));
    command.env_clear().envs(variables.iter().copied()).args(arguments);
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn sessions_are_listed_shown_and_ended() {
    let api = Api::open();
    let (code, out, err) = api.run(&["sessions"]);
    assert_eq!((code, out.lines().count()), (0, 2), "{err}");
    let cells: Vec<&str> = out.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(cells[..2], [ID, "away"]);
    assert_eq!(cells[3..], ["3", "1", "2", "-", "peer_eof", "evil\\u{1b}[31m"], "{out}");

    let (code, out, _) = api.run(&["sessions", "--json"]);
    let session: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &session["session"]), (0, &ID.into()));

    let (code, out, _) = api.run(&["sessions", ID]);
    assert_eq!(code, 0);
    assert!(out.contains("expires_at_ms  9\n"), "{out}");
    assert!(out.contains("news     every     join      40            2\n"), "{out}");

    let (code, out, err) = api.run(&["sessions", "end", ID]);
    assert_eq!((code, out.as_str()), (0, ""), "{err}");
    assert!(matches!(api.stand_in.calls.lock().unwrap().last(), Some(Call::End { .. })));

    let (code, _, err) = api.run(&["sessions", &"0".repeat(32)]);
    assert_eq!((code, err.as_str()), (1, "error: unreachable: there is no such session\n"));
    let (code, _, err) = api.run(&["sessions", "x/../y"]);
    assert_eq!(code, 1);
    assert!(err.starts_with("error: malformed: "), "{err}");
}

#[test]
fn lists_are_narrowed_and_followed_over_pages_without_any() {
    let api = Api::open();
    let filters = ["--prefix", "8f", "--state", "away", "--principal", "ann@x.org", "--behind"];
    let (code, out, err) = api.run(&[&["sessions", "--json"], &filters[..]].concat());
    assert_eq!((code, out.lines().count()), (0, 1), "{err}");
    let wanted = SessionQuery {
        prefix: "8f".parse().ok(),
        principal: Principal::parse("ann@x.org").ok(),
        is_connected: Some(false),
        is_behind: Some(true),
        after: None,
        count_max: 1000,
    };
    let asked = std::mem::take(&mut *api.stand_in.calls.lock().unwrap());
    let afters = asked.iter().map(|call| match call {
        Call::Sessions(query) => {
            assert_eq!(SessionQuery { after: None, ..query.clone() }, wanted);
            query.after.map(|after| after.as_bytes()[0])
        }
        other => panic!("{other:?}"),
    });
    assert_eq!(afters.collect::<Vec<_>>(), [None, Some(1), Some(2)]);

    let (code, out, err) = api.run(&["channels", "--prefix", "c/"]);
    assert_eq!((code, out.lines().count()), (0, 1501), "{err}");
    let asked = std::mem::take(&mut *api.stand_in.calls.lock().unwrap());
    let prefix = "c/".parse().ok();
    let all = asked.iter().all(|call| matches!(call, Call::Channels(q) if q.prefix == prefix));
    assert!(all && asked.len() == 2, "{asked:?}");

    let (code, _, err) = api.run(&["channels", "--prefix", "a b"]);
    assert_eq!(code, 1);
    assert!(err.starts_with("error: malformed: prefix: "), "{err}");
    for (wrong, exit) in [
        (&["sessions", "--state", "gone"][..], 2),
        (&["sessions", ID, "--behind"], 2),
        (&["channels", "news", "--prefix", "n"], 2),
        (&["sessions", "--behind", "end", ID], 1),
    ] {
        assert_eq!(api.run(wrong).0, exit, "{wrong:?}");
    }
    assert!(api.stand_in.calls.lock().unwrap().is_empty(), "nothing of it was asked");
    for command in ["sessions", "channels"] {
        let (_, help, _) = api.run(&[command, "--help"]);
        assert!(help.contains("Examples:") && help.contains("--prefix"), "{help}");
    }
}

#[test]
fn why_tells_the_story_of_a_session_in_words() {
    let api = Api::open();
    let (code, out, err) = api.run(&["why", ID]);
    assert_eq!((code, out.lines().count()), (0, 1200), "{err}");
    let lines: Vec<&str> = out.lines().take(2).collect();
    assert_eq!(
        lines,
        [
            "2026-11-24T09:22:45.597Z  the session began (evil\\u{1b}[31m), \
             connection 0000000000000007",
            "2026-11-24T09:22:45.598Z  its connection was lost: ping_timeout (silent for 35 s), \
             connection 0000000000000007",
        ]
    );
    let (code, out, _) = api.run(&["why", ID, "--json"]);
    let last: serde_json::Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!((code, &last["seq"]), (0, &1200.into()));
    let (code, _, err) = api.run(&["why", "x"]);
    assert_eq!(code, 1);
    assert!(err.starts_with("error: malformed: "), "{err}");
}

#[test]
fn channels_are_listed_over_all_pages_and_shown() {
    let api = Api::open();
    let (code, out, err) = api.run(&["channels"]);
    assert_eq!((code, out.lines().count()), (0, 1501), "{err}");
    let (_, out, _) = api.run(&["channels", "--json"]);
    let last: serde_json::Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!(last["name"], "c/1499");
    let (code, out, _) = api.run(&["channels", "c/0007"]);
    assert_eq!(code, 0);
    assert!(out.lines().nth(1).unwrap().starts_with("c/0007   7     1"), "{out}");
    assert!(out.contains(ID), "{out}");
}

#[test]
fn messages_are_sent_to_whom_the_flag_says() {
    let api = Api::open();
    for (arguments, payload) in [
        (["--session", ID, "hello"], "\"hello\""),
        (["--principal", "ann@example.org", "{\"a\": 1}"], "{\"a\": 1}"),
        (["--connection", "0300000007000009", "1"], "1"),
    ] {
        let (code, out, err) = api.run(&[&["send"], &arguments[..]].concat());
        assert_eq!(code, 0, "{err}");
        assert_eq!(out, "CHANNEL  OFFSET  EPOCH\nc/0007   42      0000000000000001\n");
        match api.stand_in.calls.lock().unwrap().last().unwrap() {
            Call::Send { to, payload: sent, key: None } => {
                assert_eq!(sent.bytes, payload.as_bytes());
                let flag = match to {
                    Target::Session(_) => "--session",
                    Target::Principal(_) => "--principal",
                    Target::Connection(_) => "--connection",
                };
                assert_eq!(flag, arguments[0]);
            }
            other => panic!("{other:?}"),
        }
    }
    let (code, out, _) = api.run(&["send", "--channel", "news", "--key", "k1", "--json", "x"]);
    assert_eq!((code, out.lines().count()), (0, 1));
    let calls = api.stand_in.calls.lock().unwrap();
    assert!(matches!(calls.last().unwrap(), Call::Publish { key: Some(_), .. }));
    for wrong in [&["send", "x"][..], &["send", "--session", ID, "--channel", "a", "x"]] {
        assert_eq!(api.run(wrong).0, 2);
    }
}

#[test]
fn the_token_comes_from_a_file_or_the_environment() {
    let api = Api::start(Access::Token(Token::new(SECRET).unwrap()));
    let (code, _, err) = api.run(&["sessions"]);
    assert_eq!(code, 1);
    assert!(err.starts_with("error: not_permitted: "), "{err}");
    let variables = [("MAINSTAY_ADMIN", api.url.as_str()), ("MAINSTAY_ADMIN_TOKEN", SECRET)];
    assert_eq!(run(&["sessions"], &variables).0, 0);
    let path = format!("{}/token", env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(&path, format!("{SECRET}\n")).unwrap();
    assert_eq!(api.run(&["sessions", "--token-file", &path]).0, 0);
    assert_eq!(api.run(&["sessions", "end", ID, "--token-file", &path]).0, 0);
    let (code, _, err) = api.run(&["sessions", "--token-file", "/nowhere/token"]);
    assert_eq!(code, 1);
    assert!(err.contains("/nowhere/token"), "{err}");
}

#[test]
fn who_does_not_answer_is_named() {
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let url = format!("http://{address}");
    let (code, _, err) = run(&["channels", "--admin", &url], &[]);
    assert_eq!(code, 1);
    assert!(err.starts_with(&format!("error: cannot reach {url}: ")), "{err}");
    let (code, _, err) = run(&["channels", "--admin", "https://api.example"], &[]);
    assert_eq!(code, 1);
    assert!(err.contains("http://HOST:PORT"), "{err}");
}
