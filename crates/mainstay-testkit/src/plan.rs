//! A random life: what applications do, and what goes wrong.

use mainstay_node::{Call, Retention, Target};
use mainstay_wire::ChannelName;
use mainstay_wire::session::{
    Delivery, Encoding, Offset, Payload, PayloadKind, PresenceMode, Start, Subscribe,
};

use crate::checks::CallNote;
use crate::device::Cut;
use crate::link::{End, Owner, Parcel};
use crate::truth::marked;
use crate::witness::{Note, Position};
use crate::world::{EngineKind, Happening, World, WorldConfig};
use crate::{Dice, Keeps};
use mainstay_session::client::{Place, RequestKey};
use mainstay_wire::session::{ClientFrame, Outcome};

/// Something that the plan of a life holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// Some application does something.
    Deed,
    /// Something goes wrong.
    Fault,
    /// Nothing goes wrong any more.
    Heal,
}

/// What a life is made of.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mix {
    pub(crate) channel_count: u64,
    pub(crate) payload_bytes_max: u64,
    /// The worst kinds of faults there are.
    faults: Faults,
    is_healed: bool,
    has_byes: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Faults {
    #[default]
    None,
    Network,
    Processes,
}

impl World {
    /// A world whose every property comes from a seed, with the plan of a life on its agenda. The
    /// second part of the answer is when everything is healed.
    pub(crate) fn random(seed: u64, keeps: Keeps) -> (World, u64) {
        let mut dice = Dice::new(seed ^ 0x5eed);
        let config = random_config(&mut dice);
        let mut world = World::new(seed, config, keeps);
        world.mix = Mix {
            channel_count: dice.between(1, 4),
            payload_bytes_max: dice.pick(&[0, 20, 200, 1500]),
            faults: dice.pick(&[
                Faults::None,
                Faults::Network,
                Faults::Processes,
                Faults::Processes,
            ]),
            is_healed: false,
            has_byes: dice.chance(10),
        };
        let active_ms = dice.between(5_000, 40_000);
        for _ in 0..dice.between(2, 6) {
            let encoding = dice.pick(Encoding::ALL);
            let principal = dice.pick(&[None, Some("ann"), Some("bob")]);
            let client = world.add_client(encoding, principal);
            for channel in 0..world.mix.channel_count {
                if dice.chance(60) {
                    world.subscribe_at_random(client, channel);
                }
            }
        }
        for _ in 0..dice.between(20, 100) {
            world.schedule_in(dice.below(active_ms), Happening::Act(Act::Deed));
        }
        if world.mix.faults != Faults::None {
            for _ in 0..dice.between(1, 10) {
                world.schedule_in(dice.below(active_ms), Happening::Act(Act::Fault));
            }
        }
        world.schedule_in(active_ms, Happening::Act(Act::Heal));
        let heal_at_ms = world.now_ms + active_ms;
        (world, heal_at_ms)
    }

    pub(crate) fn act(&mut self, act: Act) {
        match act {
            Act::Deed => self.deed(),
            Act::Fault if !self.mix.is_healed => self.fault(),
            Act::Fault => {}
            Act::Heal => self.heal(),
        }
    }

    /// From now on nothing goes wrong.
    pub(crate) fn heal(&mut self) {
        self.note(|| "everything heals".to_owned());
        self.mix.is_healed = true;
        self.truth.facts().is_full = false;
        for index in 0..self.devices.len() {
            self.devices[index].fuse = None;
            self.devices[index].is_offline = false;
            self.read_again(index);
        }
    }

    // Deeds.

    fn deed(&mut self) {
        let client = self.dice.below(self.devices.len() as u64) as usize;
        let channel = self.dice.below(self.mix.channel_count);
        match self.dice.below(100) {
            0..40 => {
                for _ in 0..self.dice.pick(&[1, 1, 1, 2, 12]) {
                    self.publish(client, &format!("c{channel}"));
                }
            }
            40..66 => {
                let command = self.dice.pick(&["echo", "echo", "work", "fail", "publish", "stick"]);
                let deadline_ms = self.dice.pick(&[None, None, Some(50), Some(2000)]);
                let mark = self.request(client, command, deadline_ms);
                if self.dice.chance(12) {
                    self.cancel(client, mark);
                }
            }
            66..72 => self.subscribe_at_random(client, channel),
            72..75 => self.unsubscribe(client, &format!("c{channel}")),
            75..78 => self.detach_and_attach(client, channel),
            78..85 => self.call_publish(channel),
            85..92 => self.call_send(client),
            92..99 => {
                let command = self.dice.pick(&["ask", "ask", "what"]);
                let deadline_ms = self.dice.pick(&[500, 5_000, 30_000]);
                self.call_command(client, command, deadline_ms);
            }
            _ if self.mix.has_byes => {
                let now_ms = self.now_ms;
                self.note(|| format!("c{client} says bye"));
                let device = &mut self.devices[client];
                if let Some(session) = &mut device.session {
                    device.witness.forgotten_at_ms.push(now_ms);
                    session.close(now_ms);
                    self.drain(client);
                }
            }
            _ => {}
        }
    }

    /// A client appends an event; its mark.
    pub fn publish(&mut self, client: usize, channel: &str) -> Option<u64> {
        let now_ms = self.now_ms;
        let (mark, payload) = self.payload();
        let channel = ChannelName::parse(channel).ok()?;
        let session = self.devices[client].session.as_mut()?;
        let key = session.publish(now_ms, channel.clone(), payload).ok()?;
        self.remember(client, key, mark, Some(channel));
        Some(mark)
    }

    /// A client asks for a command to be run; the mark of the request.
    pub fn request(
        &mut self,
        client: usize,
        command: &str,
        deadline_ms: Option<u64>,
    ) -> Option<u64> {
        let now_ms = self.now_ms;
        let (mark, payload) = self.payload();
        let deadline_at_ms = deadline_ms.map(|ms| now_ms + ms);
        let session = self.devices[client].session.as_mut()?;
        let key = session.request(now_ms, command, payload, deadline_at_ms).ok()?;
        self.remember(client, key, mark, None);
        Some(mark)
    }

    /// A client takes a request back.
    pub fn cancel(&mut self, client: usize, mark: Option<u64>) {
        let now_ms = self.now_ms;
        let device = &mut self.devices[client];
        let found = device.witness.notes.iter().find(|(_, note)| Some(note.mark) == mark);
        if let (Some((&key, _)), Some(session)) = (found, &mut device.session) {
            session.cancel(now_ms, key);
            self.drain(client);
        }
    }

    /// What became of a client's request.
    pub fn outcome(&self, client: usize, mark: Option<u64>) -> Option<&Outcome> {
        let mut notes = self.devices[client].witness.notes.values();
        notes.find(|note| Some(note.mark) == mark)?.outcome.as_ref()
    }

    /// A client listens.
    pub fn subscribe(&mut self, client: usize, channel: &str, start: Start) {
        let Ok(channel) = ChannelName::parse(channel) else { return };
        let (delivery, presence) = (Delivery::Every, PresenceMode::None);
        self.subscribe_with(client, Subscribe { channel, start, delivery, presence });
    }

    pub(crate) fn subscribe_with(&mut self, client: usize, subscribe: Subscribe) {
        let now_ms = self.now_ms;
        let (channel, start) = (subscribe.channel.clone(), subscribe.start);
        self.note(|| format!("c{client} listens to {channel}, {start:?}"));
        let facts = self.truth.facts();
        let head = facts.newest(&channel);
        let head = head.map(|held| Place { epoch: held.epoch, offset: held.head() });
        drop(facts);
        let device = &mut self.devices[client];
        let Some(session) = &mut device.session else { return };
        if session.subscribe(now_ms, subscribe).is_ok() {
            let position = match start {
                Start::After { epoch: Some(epoch), offset } => {
                    Position::At(Place { epoch, offset })
                }
                start => Position::Awaiting { start, head },
            };
            device.witness.places.insert(channel, position);
            self.drain(client);
        }
    }

    /// A client listens no longer.
    pub fn unsubscribe(&mut self, client: usize, channel: &str) {
        let now_ms = self.now_ms;
        let Ok(channel) = ChannelName::parse(channel) else { return };
        self.note(|| format!("c{client} leaves {channel}"));
        if let Some(session) = &mut self.devices[client].session {
            session.unsubscribe(now_ms, &channel);
            self.devices[client].witness.places.remove(&channel);
            self.drain(client);
        }
    }

    fn subscribe_at_random(&mut self, client: usize, channel: u64) {
        let Ok(channel) = ChannelName::parse(&format!("c{channel}")) else { return };
        let start = match self.dice.below(4) {
            0 | 1 => Start::Now,
            2 => Start::Last(self.dice.between(0, 20) as u32),
            _ => Start::After { epoch: None, offset: Offset::ZERO },
        };
        let every = self.dice.chance(85);
        let delivery = if every { Delivery::Every } else { Delivery::Latest };
        let presence = self.dice.pick(&[
            PresenceMode::None,
            PresenceMode::None,
            PresenceMode::Join,
            PresenceMode::Watch,
            PresenceMode::JoinAndWatch,
        ]);
        self.subscribe_with(client, Subscribe { channel, start, delivery, presence });
    }

    /// An application that takes no more for a moment, and goes on where its cursor is.
    fn detach_and_attach(&mut self, client: usize, channel: u64) {
        let now_ms = self.now_ms;
        let Ok(channel) = ChannelName::parse(&format!("c{channel}")) else { return };
        let device = &mut self.devices[client];
        let Some(session) = &mut device.session else { return };
        let Some(saved) = session.saved().channels.get(&channel) else { return };
        let Some(cursor) = saved.cursor else { return };
        let (delivery, presence) = (saved.delivery, saved.presence);
        session.detach(now_ms, &channel);
        let start = Start::Now;
        let subscribe = Subscribe { channel: channel.clone(), start, delivery, presence };
        let is_attached = session.attach(now_ms, subscribe).is_ok();
        if is_attached {
            device.witness.places.insert(channel.clone(), Position::At(cursor));
        }
        self.note(|| format!("c{client} goes on with {channel} at {cursor:?}"));
        self.drain(client);
    }

    fn payload(&mut self) -> (u64, Payload) {
        let mark = self.mark();
        let kind = self.dice.pick(&[PayloadKind::Json, PayloadKind::Binary]);
        let bytes = self.dice.between(0, self.mix.payload_bytes_max) as usize;
        (mark, marked(mark, kind, bytes))
    }

    fn remember(
        &mut self,
        client: usize,
        key: RequestKey,
        mark: u64,
        channel: Option<ChannelName>,
    ) {
        self.note(|| format!("c{client} asks for {key}, mark {mark}, {channel:?}"));
        let (made_at_ms, settled_at_ms) = (self.now_ms, 0);
        let note = Note { mark, channel, outcome: None, made_at_ms, settled_at_ms, is_safe: false };
        self.devices[client].witness.notes.insert(key, note);
        self.drain(client);
    }

    fn call_publish(&mut self, channel: u64) {
        let (mark, payload) = self.payload();
        let Ok(channel) = ChannelName::parse(&format!("c{channel}")) else { return };
        let channels = vec![channel];
        if self.dice.chance(60) {
            let note = CallNote::Publish { mark, key: None };
            return self.call(Call::Publish { channels, payload, key: None }, note);
        }
        let key = bytes::Bytes::from(format!("{}-{mark}", self.incarnation));
        for _ in 0..2 {
            let (channels, payload) = (channels.clone(), payload.clone());
            let note = CallNote::Publish { mark, key: Some(key.clone()) };
            self.call(Call::Publish { channels, payload, key: Some(key.clone()) }, note);
        }
    }

    fn call_send(&mut self, client: usize) {
        let (mark, payload) = self.payload();
        let device = &self.devices[client];
        let to = match (&device.principal, device.witness.session) {
            (Some(principal), _) if self.dice.chance(50) => Target::Principal(principal.clone()),
            (_, Some(session)) => Target::Session(session),
            _ => return,
        };
        self.call(Call::Send { to, payload, key: None }, CallNote::Publish { mark, key: None });
    }

    // Faults.

    fn fault(&mut self) {
        let client = self.dice.below(self.devices.len() as u64) as usize;
        let ms = self.dice.pick(&[10, 200, 3_000, 15_000]);
        let kinds = if self.mix.faults == Faults::Processes { 16 } else { 10 };
        match self.dice.below(kinds) {
            0 | 1 => self.cut(client, Cut::Both),
            2 => self.cut(client, Cut::ClientNotices),
            3 => self.cut(client, Cut::ServerNotices),
            4 => self.cut(client, Cut::HalfOpen),
            5 => self.go_offline(client, ms * 2),
            6 | 7 => self.stall_client(client, ms),
            8 => {
                self.delay_client(client, ms);
                if self.dice.chance(60) {
                    self.client_moves_on(client);
                }
            }
            9 => self.race(client),
            10 | 11 => self.crash_server(ms),
            12 => self.drain_server(ms.min(3_000)),
            13 | 14 => self.devices[client].fuse = Some(self.dice.below(12) as u32),
            _ if self.config.engine == EngineKind::Disk && self.dice.chance(60) => {
                self.cut_power_in_commit();
            }
            _ => self.fill_log(ms),
        }
    }

    /// The client gives its connection up and makes another, while what it said on the old one is
    /// still under way.
    pub fn client_moves_on(&mut self, client: usize) {
        if let Some(link) = self.devices[client].link {
            self.break_link(link, End::Client, "network_changed");
        }
    }

    /// Somebody shows a client's token on a connection of their own, and says nothing more.
    pub fn race(&mut self, client: usize) {
        let device = &self.devices[client];
        let Some(hello) = device.hello.clone() else { return };
        let Some(saved) = device.session.as_ref().map(|session| session.saved()) else { return };
        let Some(identity) = saved.identity.clone() else { return };
        let accepted = saved.accepted;
        let (encoding, principal) = (device.encoding, device.principal.clone());
        let Some(link) = self.accept(Owner::Racer, encoding, principal) else { return };
        self.note(|| format!("somebody races c{client} for {}, link {link}", identity.session));
        self.devices[client].was_raced = true;
        let mut hello = hello;
        hello.resume = Some((identity.session, identity.token));
        // It says nothing of outcomes, and knows what the state file knows.
        (hello.unanswered_from, hello.accepted) = (0, accepted);
        let mut message = Vec::new();
        encoding.encode_client(&ClientFrame::Hello(hello), &mut message);
        self.send(link, End::Server, Parcel::Message(message.into()));
        let ms = self.dice.below(5_000);
        self.schedule_in(ms, Happening::RacerLeaves { link });
    }

    pub(crate) fn racer_hears(&mut self, link: usize, parcel: &Parcel) {
        match parcel {
            Parcel::Message(_) => self.flush_link(link),
            Parcel::Close(code) => {
                self.links[link].client_end.get_or_insert("peer_closed");
                self.send(link, End::Server, Parcel::Close(*code));
            }
            Parcel::Eof(why) => {
                self.links[link].client_end.get_or_insert(why);
            }
        }
    }

    pub(crate) fn racer_leaves(&mut self, link: usize) {
        if self.links[link].client_end.is_none() {
            self.links[link].client_end = Some("done");
            self.send(link, End::Server, Parcel::Close(Some(1000)));
        }
    }
}

fn random_config(dice: &mut Dice) -> WorldConfig {
    let mut config = WorldConfig {
        latency_ms: dice.pick(&[1, 20, 200]),
        feed_bytes_max: dice.pick(&[1_000, 4_000, 64_000]),
        socket_bytes: dice.pick(&[500, 4_000, 64_000]),
        ..WorldConfig::default()
    };
    if dice.chance(4) {
        config.engine = EngineKind::Disk;
    }
    let node = &mut config.node;
    node.ping_interval_ms = dice.pick(&[2_000, 5_000, 25_000]);
    node.session_expiry_ms = dice.pick(&[3_000, 600_000, 600_000, 600_000]);
    node.tombstone_expiry_ms = dice.pick(&[5_000, 600_000]);
    let count_max = dice.pick(&[3, 15, 10_000, 10_000]);
    node.channel_retention = Retention { count_max, ..node.channel_retention };
    node.request_count_max = dice.pick(&[2, 16, 256]);
    node.presence_grace_ms = dice.pick(&[1_000, 10_000]);
    config
}
