//! Channels count against whoever brings them into being.

use mainstay_wire::session::{ClientFrame, ErrorCode, Outcome, Start};

use crate::world::{World, code, hello};

const ANN: Option<&str> = Some("ann");

fn world(count_max: usize) -> World {
    World::with(|config| {
        config.channels_per_principal_max = count_max;
        config.channel_retention.age_max_ms = 60_000;
    })
}

/// What became of the newest request.
fn outcome(world: &World, key: u64) -> Outcome {
    world.replies(key).pop().expect("a reply").1
}

fn publishes(world: &mut World, key: u64, number: u64, channel: &str) -> Option<ErrorCode> {
    world.publish(key, number, channel, "a");
    world.commit();
    code(&outcome(world, key))
}

fn listens(world: &mut World, key: u64, channel: &str) -> bool {
    world.take(key);
    world.subscribe(key, channel, Start::Now);
    world.commit();
    let problems = world.problems(key);
    assert!(problems.iter().all(|code| *code == ErrorCode::TooManyChannels), "{problems:?}");
    problems.is_empty()
}

#[test]
fn a_client_without_a_principal_cannot_pass_its_bound_by_new_sessions() {
    let mut world = world(2);
    world.connect(1, hello());
    assert_eq!(publishes(&mut world, 1, 1, "a"), None);
    assert_eq!(publishes(&mut world, 1, 2, "b"), None);
    assert_eq!(publishes(&mut world, 1, 3, "c"), Some(ErrorCode::TooManyChannels));
    assert_eq!(publishes(&mut world, 1, 4, "b"), None, "there it is already");
    world.frame(1, ClientFrame::Bye);
    world.commit();
    world.connect(2, hello());
    assert_eq!(publishes(&mut world, 2, 1, "c"), Some(ErrorCode::TooManyChannels));
    assert!(!listens(&mut world, 2, "c"));
    world.source = [1; 8];
    world.connect(3, hello());
    assert_eq!(publishes(&mut world, 3, 1, "c"), None, "others have places of their own");
}

#[test]
fn sessions_of_a_principal_count_together_wherever_they_come_from() {
    let mut world = world(2);
    world.connect_as(1, ANN, hello());
    world.source = [1; 8];
    world.connect_as(2, ANN, hello());
    world.connect_as(3, Some("bob"), hello());
    assert_eq!(publishes(&mut world, 1, 1, "a"), None);
    assert_eq!(publishes(&mut world, 2, 1, "b"), None);
    assert_eq!(publishes(&mut world, 1, 2, "c"), Some(ErrorCode::TooManyChannels));
    assert_eq!(publishes(&mut world, 3, 1, "c"), None);
}

#[test]
fn what_has_become_empty_makes_room() {
    let mut world = world(1);
    world.connect_as(1, ANN, hello());
    assert_eq!(publishes(&mut world, 1, 1, "a"), None);
    assert_eq!(publishes(&mut world, 1, 2, "b"), Some(ErrorCode::TooManyChannels));
    world.connect_as(2, Some("bob"), hello());
    assert!(listens(&mut world, 2, "a"), "what exists may be listened to");
    world.pass(60_000);
    assert_eq!(
        publishes(&mut world, 1, 3, "b"),
        None,
        "whoever listens keeps it not at ann's cost"
    );
    world.restart();
    world.connect_as(3, ANN, hello());
    assert_eq!(publishes(&mut world, 3, 1, "a"), Some(ErrorCode::TooManyChannels));
}

#[test]
fn listening_to_what_is_idle_counts_for_as_long_as_it_lasts() {
    let mut world = world(1);
    world.connect_as(1, ANN, hello());
    assert!(listens(&mut world, 1, "a"));
    assert!(!listens(&mut world, 1, "b"));
    assert!(listens(&mut world, 1, "a"), "a second time is no more");
    assert_eq!(publishes(&mut world, 1, 1, "a"), None, "it counts already");
    world.pass(60_000);
    world.unsubscribe(1, "a");
    assert!(listens(&mut world, 1, "b"));
    world.cut(1);
    world.connect_as(2, ANN, hello());
    assert!(listens(&mut world, 2, "c"));
}

#[test]
fn what_was_counted_is_counted_again_after_a_restart() {
    let mut world = world(2);
    world.connect_as(1, ANN, hello());
    world.connect(2, hello());
    for (number, channel) in [(1, "a"), (2, "b")] {
        assert_eq!(publishes(&mut world, 1, number, channel), None);
        assert_eq!(publishes(&mut world, 2, number, &format!("of-{channel}")), None);
    }
    world.restart();
    world.connect_as(3, ANN, hello());
    world.connect(4, hello());
    assert_eq!(publishes(&mut world, 3, 1, "c"), Some(ErrorCode::TooManyChannels));
    assert_eq!(publishes(&mut world, 4, 1, "d"), Some(ErrorCode::TooManyChannels));
}

#[test]
fn what_the_program_publishes_counts_against_nobody() {
    let mut world = world(1);
    world.connect_as(1, ANN, hello());
    for channel in ["a", "b", "c"] {
        world.emit(channel, "x");
        world.commit();
        assert!(listens(&mut world, 1, channel), "{channel} exists");
    }
    assert_eq!(publishes(&mut world, 1, 1, "a"), None);
    assert_eq!(publishes(&mut world, 1, 2, "d"), None);
    assert_eq!(publishes(&mut world, 1, 3, "e"), Some(ErrorCode::TooManyChannels));
    // A channel that was ann's and is empty becomes the program's with its event.
    world.pass(60_000);
    world.emit("d", "x");
    world.commit();
    world.restart();
    world.connect_as(2, ANN, hello());
    assert_eq!(publishes(&mut world, 2, 1, "e"), None);
}
