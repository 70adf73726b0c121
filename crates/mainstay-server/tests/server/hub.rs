//! Events for one, for all, and for those who listen to a channel.

use std::num::NonZeroUsize;
use std::thread;

use mainstay_server::{ConnectionId, HubError, Request, Router};
use serde_json::json;

use crate::support::{Client, TestServer, exchange, handshake, wait_until};

/// A router whose `whoami` answers with the connection's id.
fn whoami() -> Router {
    Router::new()
        .handler("whoami", |request: Request| async move { Ok(request.connection.to_string()) })
}

fn id_of(client: &mut Client) -> ConnectionId {
    let reply = client.request(1, "whoami");
    reply["someOtherThing"].as_str().expect("an id").parse().expect("an id")
}

#[test]
fn everyone_on_a_channel_hears_its_events_in_order_on_every_shard() {
    let server = TestServer::start();
    let mut listeners: Vec<Client> =
        (0..16).map(|_| server.client_at("/server?channel=news&channel=other")).collect();
    let mut outsider = server.client();
    for count in 0..300 {
        server.server.hub().publish("news", &count.to_string()).expect("published");
    }
    for listener in &mut listeners {
        for count in 0..300 {
            let expected = json!({
                "requestID": 0, "command": "news", "someOtherThing": count.to_string(), "success": true,
            });
            assert_eq!(listener.receive(), expected);
        }
    }
    outsider.check_alive(1);
    assert_eq!(server.stats().events_delivered, 16 * 300);
}

#[test]
fn all_listeners_agree_on_the_order_of_several_publishers() {
    let server = TestServer::start();
    let mut listeners: Vec<Client> =
        (0..6).map(|_| server.client_at("/server?channel=news")).collect();
    thread::scope(|scope| {
        for publisher in 0..4 {
            let hub = server.server.hub().clone();
            scope.spawn(move || {
                for count in 0..100 {
                    hub.publish("news", &format!("{publisher}:{count}")).expect("published");
                }
            });
        }
    });
    let heard: Vec<Vec<String>> = listeners
        .iter_mut()
        .map(|listener| {
            (0..400).map(|_| listener.receive()["someOtherThing"].to_string()).collect()
        })
        .collect();
    assert!(heard.iter().all(|order| *order == heard[0]), "one order for all");
}

#[test]
fn a_message_reaches_the_one_connection_it_is_for() {
    let server = TestServer::with(whoami(), |_| {});
    let (mut one, mut other) = (server.client(), server.client());
    let (id, other_id) = (id_of(&mut one), id_of(&mut other));
    assert_ne!(id, other_id);
    server.server.hub().send(id, "for you", "alone").expect("sent");
    assert_eq!(one.receive()["someOtherThing"], "alone");
    other.check_alive(2);
}

#[test]
fn a_broadcast_reaches_everybody() {
    let server = TestServer::with(whoami(), |_| {});
    let mut clients: Vec<Client> = (0..8).map(|_| server.client()).collect();
    // A connection takes part as soon as it has been answered.
    clients.iter_mut().for_each(|client| client.check_alive(1));
    server.server.hub().broadcast("all", "hello").expect("sent");
    for client in &mut clients {
        assert_eq!(client.receive()["command"], "all");
    }
}

#[test]
fn a_handler_can_speak_to_others() {
    let router = Router::new().handler("say", |request: Request| async move {
        request.hub.publish("room", &request.payload)?;
        Ok(String::new())
    });
    let server = TestServer::with(router, |_| {});
    let mut listener = server.client_at("/server?channel=room");
    let mut speaker = server.client();
    speaker.send(r#"{"requestID":1,"command":"say","someOtherThing":"hi"}"#);
    assert_eq!(listener.receive()["someOtherThing"], "hi");
    assert_eq!(speaker.receive()["success"], true);
}

#[test]
fn a_connection_can_be_closed_from_outside() {
    let server = TestServer::with(whoami(), |_| {});
    let mut client = server.client();
    let id = id_of(&mut client);
    server.server.hub().close(id, "enough");
    assert_eq!(client.read_close(), Some((1000, "enough".to_owned())));
    // Its id leads nowhere now, also when its place is taken again.
    wait_until("the connection to be gone", || server.server.connection_count() == 0);
    let mut next = server.client();
    server.server.hub().send(id, "late", "").expect("nothing happens");
    next.check_alive(1);
}

#[test]
fn a_place_that_is_taken_again_inherits_no_channel() {
    let server = TestServer::configured(|config| config.shard_count = NonZeroUsize::new(1));
    drop(server.client_at("/server?channel=news"));
    wait_until("the listener to be gone", || server.server.connection_count() == 0);
    let mut next = server.client();
    next.check_alive(1);
    server.server.hub().publish("news", "not for you").expect("published");
    next.check_alive(2);
    assert_eq!(server.stats().events_delivered, 0);
}

#[test]
fn bad_channels_are_refused() {
    let server = TestServer::start();
    assert!(matches!(
        server.server.hub().publish("no spaces", ""),
        Err(HubError::InvalidChannelName(_))
    ));
    for query in ["?channel=", "?channel=a%20b", "?channel=%0a", "?channel=*"] {
        let answer = exchange(&server, &handshake(&format!("/server{query}"), ""));
        assert!(answer.starts_with("HTTP/1.1 400 "), "{query}: {answer}");
        assert!(answer.contains("channel name"), "{answer}");
    }
    let many: String = (0..17).map(|count| format!("&channel=c{count}")).collect();
    let answer = exchange(&server, &handshake(&format!("/server?{many}"), ""));
    assert!(answer.contains("at most 16 channels"), "{answer}");
}
