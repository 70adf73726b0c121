//! The session dialect by hand, one connection at a time: for doing what a good client does not.

use std::net::SocketAddr;

use mainstay_client::frames::{
    ClientFrame, Cursor, Delivery, Encoding, Epoch, Hello, Offset, PresenceMode, Publish, Reply,
    ServerFrame, SessionId, Start, Subscribe, Subscribed, Token, Welcome,
};
use mainstay_client::{ConnectOptions, Message, Socket};

use crate::clients::{name, payload};
use crate::program::url;

pub(crate) struct Raw {
    socket: Socket,
}

/// What is needed to come back.
pub(crate) type Ticket = (SessionId, Token);

impl Raw {
    pub(crate) async fn dial(address: SocketAddr) -> Raw {
        let mut options = ConnectOptions::default();
        options.dial.subprotocols = vec![ENCODING.subprotocol().to_owned()];
        let socket = Socket::connect(&url(address), &options).await.unwrap();
        Raw { socket }
    }

    /// Says hello; `None` if the connection ended instead of an answer.
    pub(crate) async fn hello(
        &mut self,
        ticket: Option<Ticket>,
        unanswered_from: u64,
        cursors: Vec<Cursor>,
    ) -> Option<Welcome> {
        self.say(&ClientFrame::Hello(Box::new(Hello {
            client: "test".to_owned(),
            resume: ticket,
            unanswered_from,
            accepted: 0,
            cursors,
        })));
        match self.hear().await? {
            ServerFrame::Welcome(welcome) => Some(*welcome),
            other => panic!("{other:?} is no welcome"),
        }
    }

    pub(crate) fn say(&mut self, frame: &ClientFrame) {
        let mut bytes = Vec::new();
        ENCODING.encode_client(frame, &mut bytes);
        self.socket.send_binary(&bytes);
    }

    /// Writes what was said, and hears nothing.
    pub(crate) async fn flush(&mut self) {
        self.socket.flush().await;
    }

    /// The next frame that is not about inboxes or liveness; `None` at the connection's end.
    pub(crate) async fn hear(&mut self) -> Option<ServerFrame> {
        loop {
            let Message::Binary(bytes) = self.socket.receive().await? else { panic!("a text") };
            match ENCODING.decode_server(&bytes).unwrap() {
                ServerFrame::Subscribed(subscribed) if subscribed.channel.is_inbox() => {}
                ServerFrame::Ping => self.say(&ClientFrame::Pong),
                frame => return Some(frame),
            }
        }
    }

    pub(crate) fn publish(&mut self, number: u64, channel: &str, id: u64) {
        let payload = payload(id);
        self.say(&ClientFrame::Publish(Publish { number, channel: name(channel), payload }));
    }

    /// The next frame, which must be a reply.
    pub(crate) async fn reply(&mut self) -> Reply {
        match self.hear().await {
            Some(ServerFrame::Reply(reply)) => reply,
            other => panic!("{other:?} is no reply; {:?}", self.socket.end()),
        }
    }

    /// Listens to a channel from the place on; hears the answer.
    pub(crate) async fn subscribe(&mut self, channel: &str, start: Start) -> Subscribed {
        self.say(&ClientFrame::Subscribe(Subscribe {
            channel: name(channel),
            start,
            delivery: Delivery::Every,
            presence: PresenceMode::None,
        }));
        match self.hear().await {
            Some(ServerFrame::Subscribed(subscribed)) => subscribed,
            other => panic!("{other:?}; {:?}", self.socket.end()),
        }
    }

    /// The code with which the server closed.
    pub(crate) fn close_code(&self) -> Option<u16> {
        self.socket.end().and_then(|end| end.code)
    }
}

pub(crate) fn cursor(channel: &str, epoch: Epoch, offset: u64) -> Cursor {
    Cursor {
        channel: name(channel),
        epoch,
        offset: Offset(offset),
        delivery: Delivery::Every,
        presence: PresenceMode::None,
    }
}

/// The beginning of a channel's history.
pub(crate) const WHOLE: Start = Start::After { epoch: None, offset: Offset::ZERO };

const ENCODING: Encoding = Encoding::Protobuf;
