//! A clock that was ahead while an earlier process ran. Nothing is kept for longer because of that than
//! its age limit, counted from the moment at which the mended clock is known.

use bytes::Bytes;
use mainstay_node::{Answer, Call};
use mainstay_wire::session::{Offset, Payload, Standing};

use crate::log::Peek as _;
use crate::world::{World, hello, name, resume};

/// A world whose clock is ahead by a year.
fn ahead() -> World {
    let mut world = World::new();
    world.pass(YEAR_MS);
    world
}

/// The clock is mended, and another process opens the log.
fn mend(world: &mut World) {
    world.now_ms -= YEAR_MS;
    world.restart();
}

#[test]
fn events_become_too_old_all_the_same() {
    let mut world = ahead();
    // More than are looked at together.
    world.emit_many("news", 1_500);
    world.commit();
    mend(&mut world);
    world.pass(1_000);
    world.emit("news", "new");
    world.commit();
    world.pass(world.config.channel_retention.age_max_ms - 1_000);
    assert_eq!(first(&mut world), Offset(1_501), "the old ones are gone, the new one is not");
    world.pass(1_000);
    assert_eq!(first(&mut world), Offset(1_502));
}

#[test]
fn a_log_that_is_full_meanwhile_makes_nobody_older() {
    let mut world = ahead();
    world.emit("news", "old");
    world.commit();
    mend(&mut world);
    world.pass(10_000);
    world.emit("news", "new");
    world.commit();
    world.log.fill_up();
    world.emit("news", "lost");
    world.commit();
    world.pass(world.config.channel_retention.age_max_ms - 10_000);
    assert_eq!(first(&mut world), Offset(2));
    world.pass(10_000);
    assert_eq!(first(&mut world), Offset(3));
}

#[test]
fn sessions_expire_and_are_forgotten_all_the_same() {
    let mut world = ahead();
    let welcome = world.connect(1, hello());
    world.cut(1);
    world.commit();
    mend(&mut world);
    world.pass(world.config.session_expiry_ms / 2);
    // Later processes go on counting.
    world.restart();
    world.pass(world.config.session_expiry_ms / 2);
    let again = world.connect(2, resume(&welcome));
    assert_eq!(again.standing, Standing::Expired);

    let mut world = ahead();
    let welcome = world.connect(1, hello());
    world.cut(1);
    world.commit();
    world.pass(world.config.session_expiry_ms);
    mend(&mut world);
    world.pass(world.config.tombstone_expiry_ms / 2);
    world.restart();
    world.pass(world.config.tombstone_expiry_ms / 2);
    assert_eq!(world.connect(2, resume(&welcome)).standing, Standing::Unknown);
}

#[test]
fn idempotency_keys_are_forgotten_all_the_same() {
    let mut world = ahead();
    let publish = |world: &mut World| {
        let (channels, payload) = (vec![name("news")], Payload::NULL);
        let call = Call::Publish { channels, payload, key: Some(Bytes::from_static(b"k")) };
        match world.ask(call) {
            Ok(Answer::Published(places)) => places[0].2,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(publish(&mut world), Offset(1));
    mend(&mut world);
    world.pass(world.config.key_expiry_ms - 1);
    assert_eq!(publish(&mut world), Offset(1), "and none is lost");
    world.pass(1);
    assert_eq!(publish(&mut world), Offset(2));
    world.pass(world.config.key_expiry_ms + 2_000);
    assert!(world.log.get().memory_key("k").is_none(), "it is gone");
}

fn first(world: &mut World) -> Offset {
    world.log.get().memory.commit_view("news").0
}

const YEAR_MS: u64 = 365 * 24 * 3600 * 1000;
