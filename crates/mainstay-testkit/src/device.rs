//! A client's process: the client half of a session, its state file, and its connections.

use bytes::Bytes;
use mainstay_session::client::{
    ClientConfig, ClientEvent, ClientSession, CloseReason, CommandKey, Ending, Output, Place,
    SavedState, StateChange,
};
use mainstay_wire::session::{ClientFrame, Encoding, Outcome, Principal, ServerFrame, Standing};
use mainstay_wire::{ChannelName, session};

use crate::link::{End, Owner, Parcel};
use crate::witness::Witness;
use crate::world::{Happening, World};

/// A client and everything that outlives its process.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) encoding: Encoding,
    pub(crate) principal: Option<Principal>,
    /// `None` while there is no process.
    pub(crate) session: Option<ClientSession>,
    /// How many processes there have been.
    pub(crate) life: u64,
    /// What is safe.
    pub(crate) disk: SavedState,
    /// What would be lost if the process ended now.
    pub(crate) unsafe_changes: Vec<StateChange>,
    has_flush: bool,
    wakes_at_ms: Option<u64>,
    pub(crate) link: Option<usize>,
    attempt: u64,
    retry_count: u32,
    opened_at_ms: u64,
    /// There is no network.
    pub(crate) is_offline: bool,
    /// The process reads nothing.
    pub(crate) is_stalled: bool,
    /// The process is killed after so many outputs.
    pub(crate) fuse: Option<u32>,
    /// Nothing is to come of it any more.
    pub(crate) is_retired: bool,
    /// Somebody else has shown its token: from then on a token may be out of date.
    pub(crate) was_raced: bool,
    pub(crate) hello: Option<Box<session::Hello>>,
    pub(crate) witness: Witness,
}

/// How a connection is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Both ends notice.
    Both,
    /// The client notices; the server believes that the connection lives.
    ClientNotices,
    /// The server notices; the client believes that the connection lives.
    ServerNotices,
    /// Nobody notices.
    HalfOpen,
}

impl World {
    /// Adds a client, which dials at once. Its index is the answer.
    pub fn add_client(&mut self, encoding: Encoding, principal: Option<&str>) -> usize {
        let index = self.devices.len();
        self.devices.push(Device {
            encoding,
            principal: principal.and_then(|name| Principal::parse(name).ok()),
            session: None,
            life: 0,
            disk: SavedState::default(),
            unsafe_changes: Vec::new(),
            has_flush: false,
            wakes_at_ms: None,
            link: None,
            attempt: 0,
            retry_count: 0,
            opened_at_ms: 0,
            is_offline: false,
            is_stalled: false,
            fuse: None,
            is_retired: false,
            was_raced: false,
            hello: None,
            witness: Witness::default(),
        });
        self.start_device(index);
        index
    }

    /// Cuts a client's connection, if it has one.
    pub fn cut(&mut self, client: usize, cut: Cut) {
        let Some(link) = self.devices[client].link else { return };
        self.note(|| format!("cut c{client} link {link} {cut:?}"));
        self.kill_link(link);
        if matches!(cut, Cut::Both | Cut::ClientNotices) {
            self.break_link(link, End::Client, "reset");
        }
        if matches!(cut, Cut::Both | Cut::ServerNotices) {
            self.break_link(link, End::Server, "peer_reset");
        }
    }

    /// A client loses its network for so long: the connection goes silent, and none can be made.
    pub fn go_offline(&mut self, client: usize, ms: u64) {
        self.cut(client, Cut::HalfOpen);
        self.devices[client].is_offline = true;
        self.schedule_in(ms, Happening::BackOnline { device: client });
    }

    /// A client reads nothing for so long.
    pub fn stall_client(&mut self, client: usize, ms: u64) {
        self.note(|| format!("c{client} reads nothing for {ms} ms"));
        let now_ms = self.now_ms;
        let device = &mut self.devices[client];
        device.is_stalled = true;
        if let Some(session) = &mut device.session {
            session.handle_pause(now_ms);
        }
        self.schedule_in(ms, Happening::ReadAgain { device: client });
    }

    /// What a client says arrives only after so long.
    pub fn delay_client(&mut self, client: usize, ms: u64) {
        if let Some(link) = self.devices[client].link {
            self.note(|| format!("what c{client} says is {ms} ms late"));
            self.links[link].up.stalled_until_ms = self.now_ms + ms;
        }
    }

    /// A client's process is killed. What was not safe is lost, or some of it; it starts again after
    /// so long.
    pub fn crash_client(&mut self, client: usize, restart_ms: u64) {
        let count = self.devices[client].unsafe_changes.len() as u64;
        let kept = self.dice.between(0, count) as usize;
        self.note(|| format!("c{client} is killed; {kept} of {count} changes were kept"));
        let device = &mut self.devices[client];
        if device.session.take().is_none() {
            return;
        }
        device.unsafe_changes.truncate(kept);
        device.make_safe();
        device.fuse = None;
        let disk = device.disk.clone();
        device.witness.rewind(&disk);
        if let Some(link) = self.devices[client].link.take() {
            self.links[link].client_end = Some("killed");
            match self.dice.chance(25) {
                true => self.kill_link(link),
                false => self.send(link, End::Server, Parcel::Eof("peer_eof")),
            }
        }
        self.schedule_in(restart_ms, Happening::StartDevice { device: client });
    }

    pub(crate) fn start_device(&mut self, index: usize) {
        let seed = self.dice.seed();
        let silence_margin_ms = self.config.silence_margin_ms;
        let device = &mut self.devices[index];
        if device.session.is_some() || device.is_retired {
            return;
        }
        let defaults = ClientConfig::new(seed);
        let config = ClientConfig { encoding: device.encoding, silence_margin_ms, ..defaults };
        device.session = Some(ClientSession::new(config, Some(device.disk.clone())));
        device.life += 1;
        device.retry_count = 0;
        device.wakes_at_ms = None;
        device.has_flush = false;
        device.unsafe_changes.clear();
        let life = device.life;
        self.note(|| format!("c{index} starts, life {life}"));
        self.drain(index);
        self.redial(index, 0);
    }

    pub(crate) fn back_online(&mut self, index: usize) {
        self.note(|| format!("c{index} is online"));
        self.devices[index].is_offline = false;
        if self.devices[index].link.is_none() {
            self.devices[index].retry_count = 0;
            self.redial(index, 0);
        }
    }

    pub(crate) fn read_again(&mut self, index: usize) {
        let now_ms = self.now_ms;
        let device = &mut self.devices[index];
        if !std::mem::take(&mut device.is_stalled) {
            return;
        }
        self.note(|| format!("c{index} reads again"));
        let device = &mut self.devices[index];
        if let Some(session) = &mut device.session {
            session.handle_resume(now_ms);
        }
        if let Some(link) = device.link {
            for parcel in std::mem::take(&mut self.links[link].unread) {
                self.client_hears(link, parcel);
            }
        }
        self.drain(index);
    }

    // Connections.

    fn redial(&mut self, index: usize, delay_ms: u64) {
        let device = &mut self.devices[index];
        device.attempt += 1;
        let attempt = device.attempt;
        self.schedule_in(delay_ms, Happening::Dial { device: index, attempt });
    }

    /// Dials again after a random part of a range that grows (PROTOCOL.md, "Closing").
    fn back_off(&mut self, index: usize, code: Option<u16>) {
        let now_ms = self.now_ms;
        let device = &mut self.devices[index];
        if device.opened_at_ms + 5000 <= now_ms {
            device.retry_count = 0;
        }
        let range_ms = match (device.retry_count, code) {
            (0, Some(1001 | 1012)) => 5000,
            (count, _) => (500u64 << count.min(10)).min(20_000),
        };
        device.retry_count += 1;
        let delay_ms = self.dice.below(range_ms);
        self.redial(index, delay_ms);
    }

    pub(crate) fn dial(&mut self, device: usize, attempt: u64) {
        let held = &self.devices[device];
        if held.session.is_some() && held.link.is_none() && held.attempt == attempt {
            let ms = self.dice.between(1, 3 * self.config.latency_ms);
            self.schedule_in(ms, Happening::Dialed { device, attempt });
        }
    }

    pub(crate) fn dialed(&mut self, index: usize, attempt: u64) {
        let now_ms = self.now_ms;
        let device = &mut self.devices[index];
        if device.session.is_none() || device.link.is_some() || device.attempt != attempt {
            return;
        }
        let (encoding, principal) = (device.encoding, device.principal.clone());
        let is_offline = device.is_offline;
        let accepted = match is_offline {
            true => None,
            false => self.accept(Owner::Device(index), encoding, principal),
        };
        let Some(link) = accepted else {
            self.devices[index].opened_at_ms = now_ms;
            return self.back_off(index, None);
        };
        self.note(|| format!("c{index} connects, link {link}"));
        let device = &mut self.devices[index];
        device.link = Some(link);
        device.opened_at_ms = now_ms;
        if let Some(session) = &mut device.session {
            session.handle_open(now_ms);
        }
        self.drain(index);
    }

    pub(crate) fn client_hears(&mut self, link: usize, parcel: Parcel) {
        let index = match self.links[link].owner {
            Owner::Racer => {
                self.links[link].down.in_flight_bytes -= parcel.bytes();
                return self.racer_hears(link, &parcel);
            }
            Owner::Device(index) => index,
        };
        if self.devices[index].link != Some(link) {
            return;
        }
        if self.devices[index].is_stalled && !matches!(parcel, Parcel::Eof(_)) {
            return self.links[link].unread.push(parcel);
        }
        self.links[link].down.in_flight_bytes -= parcel.bytes();
        match parcel {
            Parcel::Message(message) => {
                self.client_reads(index, &message);
                self.flush_link(link);
            }
            Parcel::Close(code) => self.client_loses(index, link, "peer_closed", code),
            Parcel::Eof(why) => self.client_loses(index, link, why, None),
        }
    }

    fn client_reads(&mut self, index: usize, message: &Bytes) {
        let now_ms = self.now_ms;
        let encoding = self.devices[index].encoding;
        let frame = match encoding.decode_server(message) {
            Ok(frame) => frame,
            Err(error) => {
                return self.checks.fail("protocol", format!("c{index} cannot read: {error}"));
            }
        };
        if !matches!(frame, ServerFrame::Ping | ServerFrame::Pong) {
            self.note(|| format!("c{index} ← {frame:?}"));
        }
        if let Some(session) = &mut self.devices[index].session {
            session.handle_frame(now_ms, frame);
        }
        self.drain(index);
    }

    fn client_loses(&mut self, index: usize, link: usize, why: &'static str, code: Option<u16>) {
        let now_ms = self.now_ms;
        self.note(|| format!("c{index} loses link {link}: {why} {code:?}"));
        self.links[link].client_end = Some(why);
        if let Some(code) = code {
            self.check_close_code(index, link, code);
            self.send(link, End::Server, Parcel::Close(Some(code)));
        }
        let device = &mut self.devices[index];
        device.link = None;
        if let Some(session) = &mut device.session {
            session.handle_closed(now_ms, code);
        }
        if code.is_some_and(|code| (4200..4300).contains(&code)) {
            // Somebody else has the session now, and with it the outcomes; this is known even if the
            // process dies before it has dealt with it.
            self.devices[index].witness.forgotten_at_ms.push(now_ms);
        }
        if code.is_some_and(|code| (4100..4200).contains(&code)) {
            self.devices[index].witness.forget_session(now_ms);
        }
        self.drain(index);
        self.back_off(index, code);
    }

    fn client_closes(&mut self, index: usize, reason: CloseReason) {
        self.note(|| format!("c{index} closes: {reason:?}"));
        if let CloseReason::Fault(what) = reason {
            self.checks.fail("protocol", format!("c{index} heard {what}"));
        }
        let word = match reason {
            CloseReason::Silent => "silent",
            CloseReason::NoWelcome => "no_welcome",
            CloseReason::Goaway => "goaway",
            _ => "done",
        };
        if let Some(link) = self.devices[index].link.take() {
            self.links[link].client_end = Some(word);
            self.send(link, End::Server, Parcel::Close(Some(1000)));
            self.back_off(index, None);
        }
    }

    // The session.

    /// Does everything that the session says is to be done.
    pub(crate) fn drain(&mut self, index: usize) {
        loop {
            let device = &mut self.devices[index];
            let Some(session) = &mut device.session else { return };
            let Some(output) = session.poll_output() else { break };
            if let Some(fuse) = &mut device.fuse {
                if *fuse == 0 {
                    let restart_ms = self.dice.below(5000);
                    return self.crash_client(index, restart_ms);
                }
                *fuse -= 1;
            }
            if output.needs_safety() {
                device.make_safe();
            }
            match output {
                Output::Persist(change) => {
                    if let StateChange::Welcomed { standing, .. } = &change
                        && matches!(standing, Standing::Expired | Standing::Unknown)
                    {
                        device.witness.forgotten_at_ms.push(self.now_ms);
                    }
                    device.unsafe_changes.push(change);
                }
                Output::Transmit(frame) => self.transmit(index, &frame),
                Output::Event(ClientEvent::Ended(ending)) => {
                    return self.session_ends(index, ending);
                }
                Output::Event(event) => self.client_tells(index, event),
                Output::CloseConnection { reason } => self.client_closes(index, reason),
            }
        }
        self.schedule_wake(index);
        let device = &mut self.devices[index];
        if !device.unsafe_changes.is_empty() && !device.has_flush {
            device.has_flush = true;
            let life = device.life;
            let ms = self.dice.below(200);
            self.schedule_in(ms, Happening::Flush { device: index, life });
        }
    }

    fn schedule_wake(&mut self, index: usize) {
        let device = &mut self.devices[index];
        let Some(at_ms) = device.session.as_ref().and_then(ClientSession::next_timeout) else {
            return;
        };
        if device.wakes_at_ms.is_none_or(|wakes_at_ms| at_ms < wakes_at_ms) {
            device.wakes_at_ms = Some(at_ms);
            let life = device.life;
            self.schedule(at_ms, Happening::Wake { device: index, life });
        }
    }

    pub(crate) fn wake(&mut self, index: usize, life: u64) {
        let now_ms = self.now_ms;
        let device = &mut self.devices[index];
        if device.life != life {
            return;
        }
        device.wakes_at_ms = None;
        if let Some(session) = &mut device.session
            && session.next_timeout().is_some_and(|at_ms| at_ms <= now_ms)
        {
            session.handle_timeout(now_ms);
        }
        self.drain(index);
    }

    pub(crate) fn flush_changes(&mut self, index: usize, life: u64) {
        let device = &mut self.devices[index];
        if device.life == life {
            device.has_flush = false;
            device.make_safe();
        }
    }

    pub(crate) fn consume(&mut self, index: usize, life: u64, channel: &ChannelName, place: Place) {
        let now_ms = self.now_ms;
        let device = &mut self.devices[index];
        if device.life != life {
            return;
        }
        if let Some(session) = &mut device.session {
            session.consumed(now_ms, channel, place.epoch, place.offset);
        }
        self.drain(index);
    }

    pub(crate) fn answer_command(
        &mut self,
        index: usize,
        life: u64,
        key: CommandKey,
        outcome: Outcome,
    ) {
        let now_ms = self.now_ms;
        let device = &mut self.devices[index];
        if device.life != life {
            return;
        }
        if let Some(session) = &mut device.session {
            session.answer(now_ms, key, outcome);
        }
        self.drain(index);
    }

    fn transmit(&mut self, index: usize, frame: &ClientFrame) {
        if !matches!(frame, ClientFrame::Ping | ClientFrame::Pong) {
            self.note(|| format!("c{index} → {frame:?}"));
        }
        let device = &mut self.devices[index];
        if let ClientFrame::Hello(hello) = frame {
            device.hello = Some(hello.clone());
        }
        let Some(link) = device.link else { return };
        let mut message = Vec::new();
        device.encoding.encode_client(frame, &mut message);
        self.send(link, End::Server, Parcel::Message(message.into()));
    }

    fn session_ends(&mut self, index: usize, ending: Ending) {
        self.note(|| format!("c{index} ends: {ending:?}"));
        if let Ending::Stopped { code } = ending {
            self.checks.fail("protocol", format!("c{index} was stopped with {code}"));
        }
        let now_ms = self.now_ms;
        let device = &mut self.devices[index];
        // What comes behind is of no session.
        while let Some(session) = &mut device.session
            && let Some(output) = session.poll_output()
        {
            if let Output::Persist(change) = output {
                device.unsafe_changes.push(change);
            }
        }
        device.make_safe();
        device.session = None;
        match ending {
            Ending::Closed => device.witness.forget_session(now_ms),
            // Somebody else has the session now, and with it the outcomes.
            _ => device.witness.forgotten_at_ms.push(now_ms),
        }
        let disk = device.disk.clone();
        device.witness.rewind(&disk);
        if let Some(link) = self.devices[index].link.take() {
            self.links[link].client_end = Some("done");
            self.send(link, End::Server, Parcel::Close(Some(1000)));
        }
        let ms = self.dice.between(1, 3000);
        self.schedule_in(ms, Happening::StartDevice { device: index });
    }
}

impl Device {
    fn make_safe(&mut self) {
        for change in self.unsafe_changes.drain(..) {
            self.witness.persisted(&change);
            self.disk.apply(&change);
        }
    }
}
