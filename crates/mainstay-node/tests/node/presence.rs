use mainstay_node::{Answer, Call};
use mainstay_wire::session::{
    Cursor, Delivery, Encoding, Hello, PresenceMode, ServerFrame, Start, Welcome,
};

use crate::world::{World, cursor, hello, name, resume};

const ROOM: &str = "room";

fn enter(world: &mut World, key: u64, presence: PresenceMode) {
    world.subscribe_with(key, ROOM, Start::Now, Delivery::Every, presence);
}

/// Who joined and who left, as a watcher has heard since it was last asked.
fn heard(world: &mut World, key: u64) -> (Vec<String>, Vec<String>) {
    let (mut joined, mut left) = (Vec::new(), Vec::new());
    for frame in world.take(key) {
        if let ServerFrame::Presence(said) = frame {
            let names = |members: Vec<mainstay_wire::session::Member>| {
                members.into_iter().map(|member| member.principal.expect("one").to_string())
            };
            joined.extend(names(said.joined));
            left.extend(names(said.left));
        }
    }
    (joined, left)
}

fn members(world: &mut World) -> usize {
    let Ok(Answer::Members(members)) = world.ask(Call::Members { channel: name(ROOM) }) else {
        panic!("members")
    };
    members.len()
}

/// A watcher on connection 1, and ann on connection 2, who has joined and is known to have.
fn room() -> (World, Welcome) {
    let mut world = World::new();
    world.connect_as(1, Some("watcher"), hello());
    enter(&mut world, 1, PresenceMode::Watch);
    let ann = world.connect_as(2, Some("ann"), hello());
    enter(&mut world, 2, PresenceMode::Join);
    world.commit();
    world.pass(1_000);
    assert_eq!(heard(&mut world, 1).0, ["ann"]);
    (world, ann)
}

fn joined_cursor(world: &World) -> Cursor {
    let epoch = world.subscribed(2, ROOM).expect("subscribed").epoch;
    Cursor { presence: PresenceMode::Join, ..cursor(ROOM, epoch, 0) }
}

fn nobody() -> (Vec<String>, Vec<String>) {
    (Vec::new(), Vec::new())
}

#[test]
fn comings_and_goings_are_gathered() {
    let (mut world, _) = room();
    world.connect_as(3, Some("bob"), hello());
    world.connect_as(4, Some("cid"), hello());
    enter(&mut world, 3, PresenceMode::Join);
    world.commit();
    world.pass(600);
    enter(&mut world, 4, PresenceMode::Join);
    world.commit();
    world.pass(399);
    assert_eq!(heard(&mut world, 1), nobody());
    world.pass(1);
    let (mut joined, _) = heard(&mut world, 1);
    joined.sort();
    assert_eq!(joined, ["bob", "cid"], "the first of them says when");
    enter(&mut world, 3, PresenceMode::None);
    enter(&mut world, 3, PresenceMode::Join);
    world.commit();
    world.pass(1_000);
    assert_eq!(heard(&mut world, 1), nobody(), "who left and came back did neither");
}

#[test]
fn a_new_watcher_gets_the_members_behind_subscribed() {
    let (mut world, _) = room();
    world.connect_as(3, Some("bob"), hello());
    world.take(3);
    enter(&mut world, 3, PresenceMode::JoinAndWatch);
    world.commit();
    let frames = world.frames[&3].clone();
    let ServerFrame::Subscribed(subscribed) = &frames[0] else { panic!("{frames:?}") };
    assert_eq!(subscribed.member_count, 2);
    assert_eq!(heard(&mut world, 3).0, ["ann"], "whom the other watchers know of");
    assert_eq!(heard(&mut world, 1), nobody(), "nobody else is told because somebody watches");
    world.pass(1_000);
    assert_eq!(heard(&mut world, 3).0, ["bob"], "and then what they hear");
}

#[test]
fn who_comes_back_in_time_has_not_left() {
    let (mut world, ann) = room();
    let cursors = vec![joined_cursor(&world)];
    world.cut(2);
    world.commit();
    world.pass(9_999);
    assert_eq!(members(&mut world), 1);
    world.connect_as(3, Some("ann"), Hello { cursors: cursors.clone(), ..resume(&ann) });
    world.pass(20_000);
    assert_eq!(members(&mut world), 1);
    world.cut(3);
    world.commit();
    world.pass(9_999);
    assert_eq!(heard(&mut world, 1), nobody());
    world.pass(1);
    assert_eq!(members(&mut world), 0);
    world.pass(1_000);
    assert_eq!(heard(&mut world, 1).1, ["ann"]);
}

#[test]
fn a_takeover_and_a_change_of_mode_keep_a_membership() {
    let (mut world, ann) = room();
    let cursors = vec![joined_cursor(&world)];
    world.connect_as(3, Some("ann"), Hello { cursors, ..resume(&ann) });
    enter(&mut world, 3, PresenceMode::JoinAndWatch);
    enter(&mut world, 3, PresenceMode::Join);
    world.commit();
    world.pass(2_000);
    assert_eq!((members(&mut world), heard(&mut world, 1)), (1, nobody()));
}

#[test]
fn who_comes_back_without_its_cursor_has_left() {
    let (mut world, ann) = room();
    world.connect_as(3, Some("ann"), resume(&ann));
    assert_eq!(members(&mut world), 0);
    world.pass(1_000);
    assert_eq!(heard(&mut world, 1).1, ["ann"]);
}

#[test]
fn leaving_takes_an_unsubscribe_or_a_mode_or_an_end() {
    for leave in [
        (|world: &mut World| world.unsubscribe(2, ROOM)) as fn(&mut World),
        |world| enter(world, 2, PresenceMode::Watch),
        |world| enter(world, 2, PresenceMode::None),
        |world| world.frame(2, mainstay_wire::session::ClientFrame::Bye),
    ] {
        let (mut world, _) = room();
        leave(&mut world);
        world.commit();
        assert_eq!(members(&mut world), 0);
        world.pass(1_000);
        assert_eq!(heard(&mut world, 1), (vec![], vec!["ann".to_owned()]));
    }
}

#[test]
fn who_stays_away_leaves_though_it_expires_first() {
    let mut world = World::with(|config| config.session_expiry_ms = 5_000);
    world.connect_as(1, Some("watcher"), hello());
    enter(&mut world, 1, PresenceMode::Watch);
    world.connect_as(2, Some("ann"), hello());
    enter(&mut world, 2, PresenceMode::Join);
    world.cut(2);
    world.commit();
    world.pass(5_000);
    assert_eq!(members(&mut world), 0);
    world.pass(20_000);
    assert!(world.node.audit() < 5);
}

#[test]
fn what_is_told_of_members_fits_into_a_message() {
    let mut world = World::with(|config| config.message_bytes_max = 1_000);
    world.connect_as(1, Some("watcher"), hello());
    enter(&mut world, 1, PresenceMode::Watch);
    for key in 2..30 {
        world.connect_as(key, Some(&format!("{key:0>96}")), hello());
        enter(&mut world, key, PresenceMode::Join);
    }
    world.commit();
    world.pass(1_000);
    world.connect_as(30, Some("late"), hello());
    enter(&mut world, 30, PresenceMode::Watch);
    world.commit();
    for key in [1, 30] {
        let frames = world.take(key).into_iter();
        let frames = frames.filter(|frame| matches!(frame, ServerFrame::Presence(_)));
        let mut member_count = 0;
        for frame in frames {
            let mut json = Vec::new();
            Encoding::Json.encode_server(&frame, &mut json);
            assert!(json.len() <= 1_000, "{} bytes", json.len());
            let ServerFrame::Presence(presence) = frame else { unreachable!() };
            member_count += presence.joined.len();
        }
        assert_eq!(member_count, 28, "watcher {key} knows of all");
    }
}

#[test]
fn who_asks_again_and_again_is_told_of_the_members_once() {
    let mut world = World::new();
    for key in 2..300 {
        world.connect_as(key, Some(&format!("p{key}")), hello());
        enter(&mut world, key, PresenceMode::Join);
    }
    world.commit();
    world.pass(1_000);
    world.connect(1, hello());
    (0..500).for_each(|_| enter(&mut world, 1, PresenceMode::Watch));
    world.commit();
    let (joined, left) = heard(&mut world, 1);
    assert_eq!((joined.len(), left.len()), (298, 0));
}

#[test]
fn who_no_longer_watches_is_not_told() {
    let (mut world, _) = room();
    enter(&mut world, 1, PresenceMode::None);
    enter(&mut world, 2, PresenceMode::None);
    world.commit();
    world.pass(1_000);
    assert_eq!(heard(&mut world, 1), nobody());
}
