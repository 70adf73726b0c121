//! The stories by which systems of this kind lose, repeat or forget, each told once.

use mainstay_testkit::{Cut, EngineKind, Keeps, World, WorldConfig};
use mainstay_wire::session::{Encoding, ErrorCode, Offset, Outcome, Start};

fn world() -> World {
    World::new(7, WorldConfig::default(), Keeps::Lines)
}

fn on_disk() -> World {
    let config = WorldConfig { engine: EngineKind::Disk, ..WorldConfig::default() };
    World::new(7, config, Keeps::Lines)
}

/// A client that listens to a channel which it shares with nobody yet.
fn listener(world: &mut World, encoding: Encoding) -> usize {
    let client = world.add_client(encoding, None);
    world.run_until_open(client);
    world.subscribe(client, "c0", Start::Now);
    world.run_for(200);
    client
}

fn is_published(world: &World, client: usize, mark: Option<u64>) -> bool {
    matches!(world.outcome(client, mark), Some(Outcome::Published { .. }))
}

fn code(world: &World, client: usize, mark: Option<u64>) -> Option<ErrorCode> {
    match world.outcome(client, mark) {
        Some(Outcome::Failed(failure)) => Some(failure.code),
        _ => None,
    }
}

#[test]
fn a_client_that_never_received_an_event_resumes_and_gets_the_first() {
    let mut world = world();
    let client = listener(&mut world, Encoding::Json);
    world.go_offline(client, 5_000);
    world.server_publishes("c0", 10);
    world.server_publishes("c0", 10);
    world.run_until_seen(client, "c0", 2);
    assert_eq!(world.seen(client, "c0"), ["1", "2"]);
    world.finish();
}

#[test]
fn an_idle_client_whose_last_event_is_old_loses_nothing_by_a_blip() {
    let mut world = world();
    let client = listener(&mut world, Encoding::Protobuf);
    world.server_publishes("c0", 10);
    world.run_for(3_600_000);
    world.cut(client, Cut::Both);
    world.server_publishes("c0", 10);
    world.run_until_seen(client, "c0", 2);
    assert_eq!(world.seen(client, "c0"), ["1", "2"]);
    assert_eq!(world.generation(client), 2, "it is the same session");
    world.finish();
}

#[test]
fn a_client_comes_back_before_the_server_has_noticed_that_its_connection_is_dead() {
    let mut world = world();
    let client = listener(&mut world, Encoding::Json);
    world.cut(client, Cut::ClientNotices);
    world.server_publishes("c0", 10);
    world.run_until("it is back", |world| world.generation(client) == 2);
    world.server_publishes("c0", 10);
    world.run_until_seen(client, "c0", 2);
    assert_eq!(world.seen(client, "c0"), ["1", "2"]);
    world.finish();
}

#[test]
fn a_latest_subscription_moves_its_cursor_only_with_a_word_about_what_it_skipped() {
    let mut world = world();
    let client = world.add_client(Encoding::Json, None);
    world.run_until_open(client);
    world.server_publishes("c0", 10);
    world.run_for(100);
    world.subscribe_latest(client, "c0");
    world.run_for(100);
    world.go_offline(client, 3_000);
    for _ in 0..5 {
        world.server_publishes("c0", 10);
    }
    world.run_until_seen(client, "c0", 2);
    assert_eq!(world.seen(client, "c0"), ["gap 2-5 conflated", "6"]);
    world.finish();
}

#[test]
fn events_that_come_among_commands_that_want_answers_are_kept_too() {
    let mut world = world();
    let client = listener(&mut world, Encoding::Protobuf);
    world.go_offline(client, 4_000);
    for _ in 0..3 {
        world.server_publishes("c0", 10);
        world.server_asks(client, "ask", 60_000);
        world.server_sends(client);
    }
    world.finish();
    assert_eq!(world.seen(client, "c0"), ["1", "2", "3"]);
    let inbox = world.inbox(client);
    assert_eq!(world.seen(client, &inbox), ["1", "2", "3"]);
}

#[test]
fn after_a_restart_in_memory_a_client_is_told_that_the_epoch_is_gone() {
    let mut world = world();
    let client = listener(&mut world, Encoding::Json);
    world.server_publishes("c0", 10);
    world.run_until_seen(client, "c0", 1);
    world.crash_server(500);
    world.run_for(1_000);
    world.server_publishes("c0", 10);
    world.run_until_seen(client, "c0", 3);
    assert_eq!(world.seen(client, "c0"), ["1", "gap 2-? epoch", "1"]);
    world.finish();
}

#[test]
fn after_a_restart_on_a_disk_a_client_goes_on_as_if_nothing_had_been() {
    let mut world = on_disk();
    let client = listener(&mut world, Encoding::Json);
    world.server_publishes("c0", 10);
    world.run_until_seen(client, "c0", 1);
    world.crash_server(500);
    world.run_for(1_000);
    world.server_publishes("c0", 10);
    world.run_until_seen(client, "c0", 2);
    assert_eq!(world.seen(client, "c0"), ["1", "2"]);
    assert_eq!(world.generation(client), 2, "it is the same session");
    world.finish();
}

#[test]
fn a_frozen_page_catches_up_from_the_log_and_is_not_disconnected() {
    let mut world = world();
    let client = listener(&mut world, Encoding::Json);
    world.stall_client(client, 9_000);
    for _ in 0..300 {
        world.server_publishes("c0", 300);
        world.run_for(10);
    }
    world.run_until_seen(client, "c0", 300);
    let offsets: Vec<String> = (1..=300).map(|offset: u64| offset.to_string()).collect();
    assert_eq!(world.seen(client, "c0"), offsets);
    assert_eq!(world.generation(client), 1, "by the same connection");
    assert!(world.counts().behind_count > 0, "it fell behind");
    world.finish();
}

#[test]
fn a_publish_among_commands_does_not_make_the_two_sides_count_differently() {
    let mut world = world();
    let client = listener(&mut world, Encoding::Json);
    let mut marks = Vec::new();
    for round in 0..4 {
        marks.push(world.request(client, "echo", None));
        marks.push(world.publish(client, "c0"));
        let doomed = world.request(client, "work", None);
        world.cancel(client, doomed);
        marks.push(world.request(client, "fail", None));
        world.cut(client, if round % 2 == 0 { Cut::Both } else { Cut::ClientNotices });
        world.run_for(700);
    }
    world.finish();
    for mark in marks {
        assert!(world.outcome(client, mark).is_some());
        assert!(world.start_count(mark) as usize + world.place_count(mark) == 1);
    }
}

#[test]
fn a_backlog_far_larger_than_the_outbox_is_replayed_whole() {
    let mut world = world();
    let client = listener(&mut world, Encoding::Protobuf);
    world.go_offline(client, 8_000);
    for _ in 0..500 {
        world.server_publishes("c0", 200);
        world.run_for(5);
    }
    world.run_until_seen(client, "c0", 500);
    let offsets: Vec<String> = (1..=500).map(|offset: u64| offset.to_string()).collect();
    assert_eq!(world.seen(client, "c0"), offsets);
    world.finish();
}

#[test]
fn a_killed_client_keeps_its_queue_and_runs_nothing_twice() {
    let mut world = world();
    let client = listener(&mut world, Encoding::Json);
    world.go_offline(client, 4_000);
    world.run_for(1_000);
    let marks: Vec<_> = (0..5).map(|_| world.publish(client, "c0")).collect();
    world.run_for(500);
    world.crash_client(client, 1_000);
    world.finish();
    for mark in marks {
        assert!(is_published(&world, client, mark), "{:?}", world.outcome(client, mark));
        assert_eq!(world.place_count(mark), 1);
    }
}

#[test]
fn a_session_resumed_by_another_process_of_the_server_is_the_same_session() {
    let mut world = on_disk();
    let client = listener(&mut world, Encoding::Json);
    let mark = world.request(client, "echo", None);
    world.run_until_settled(client, mark);
    world.drain_server(1_000);
    world.run_for(6_000);
    world.run_until_open(client);
    let after = world.request(client, "echo", None);
    world.run_until_settled(client, after);
    assert!(world.generation(client) >= 2, "it is the same session");
    assert_eq!((world.start_count(mark), world.start_count(after)), (1, 1));
    world.finish();
}

#[test]
fn publishes_that_race_with_the_joining_of_replay_and_live_leave_no_hole() {
    for seed in 0..20 {
        let mut world = World::new(seed, WorldConfig::default(), Keeps::Lines);
        let client = world.add_client(Encoding::Json, None);
        world.run_until_open(client);
        for _ in 0..50 {
            world.server_publishes("c0", 100);
        }
        world.run_for(50);
        world.subscribe(client, "c0", Start::After { epoch: None, offset: Offset::ZERO });
        for _ in 0..100 {
            world.server_publishes("c0", 100);
            world.run_for(1);
        }
        world.finish();
        let offsets: Vec<String> = (1..=150).map(|offset: u64| offset.to_string()).collect();
        assert_eq!(world.seen(client, "c0"), offsets);
    }
}

#[test]
fn a_last_event_that_the_server_does_not_know_leads_to_a_gap_and_then_everything() {
    let mut world = world();
    let client = world.add_client(Encoding::Json, None);
    world.run_until_open(client);
    for _ in 0..3 {
        world.server_publishes("c0", 10);
    }
    world.run_for(100);
    let epoch = world.epoch("c0").expect("an epoch");
    world.crash_server(100);
    world.run_for(1_000);
    for _ in 0..2 {
        world.server_publishes("c0", 10);
    }
    world.run_until_open(client);
    world.subscribe_after(client, "c0", epoch, 3);
    world.run_until_seen(client, "c0", 3);
    assert_eq!(world.seen(client, "c0"), ["gap 4-? epoch", "1", "2"]);
    world.finish();
}

#[test]
fn a_reader_behind_the_history_is_told_exactly_what_is_missing() {
    let mut config = WorldConfig::default();
    config.node.channel_retention.count_max = 10;
    let mut world = World::new(7, config, Keeps::Lines);
    let client = listener(&mut world, Encoding::Json);
    world.go_offline(client, 5_000);
    for _ in 0..30 {
        world.server_publishes("c0", 10);
    }
    world.run_until_seen(client, "c0", 11);
    let mut expected = vec!["gap 1-20 trimmed".to_owned()];
    expected.extend((21..=30).map(|offset: u64| offset.to_string()));
    assert_eq!(world.seen(client, "c0"), expected);
    world.finish();
}

#[test]
fn a_client_killed_between_an_event_and_its_acknowledgement_gets_it_neither_lost_nor_twice() {
    let mut world = world();
    let client = listener(&mut world, Encoding::Json);
    for _ in 0..10 {
        world.server_publishes("c0", 10);
        world.run_for(60);
        world.crash_client(client, 50);
        world.run_until_open(client);
    }
    world.finish();
}

#[test]
fn a_server_killed_between_storing_and_answering_a_publish_has_it_once() {
    for wait_ms in 0..60 {
        let mut world = on_disk();
        let client = listener(&mut world, Encoding::Json);
        let mark = world.publish(client, "c0");
        world.run_for(wait_ms);
        world.crash_server(100);
        world.run_until_settled(client, mark);
        assert!(is_published(&world, client, mark), "killed after {wait_ms} ms");
        assert_eq!(world.place_count(mark), 1);
        world.finish();
    }
}

#[test]
fn a_handler_that_died_with_its_server_is_in_doubt_and_does_not_run_again() {
    let mut world = on_disk();
    let client = listener(&mut world, Encoding::Json);
    let stuck = world.request(client, "stick", None);
    let queued = world.request(client, "echo", None);
    world.run_until("it runs", |world| world.start_count(stuck) == 1);
    world.crash_server(100);
    world.run_until_settled(client, queued);
    assert_eq!(world.outcome(client, stuck), Some(&Outcome::Indeterminate));
    assert!(matches!(world.outcome(client, queued), Some(Outcome::Done(_))));
    assert_eq!((world.start_count(stuck), world.start_count(queued)), (1, 1));
    world.finish();
}

#[test]
fn a_handler_that_outlives_its_connection_is_answered_on_the_next() {
    let mut world = world();
    let client = listener(&mut world, Encoding::Protobuf);
    let mark = world.request(client, "work", None);
    world.run_until("it runs", |world| world.start_count(mark) == 1);
    world.cut(client, Cut::Both);
    world.run_until_settled(client, mark);
    assert!(matches!(world.outcome(client, mark), Some(Outcome::Done(_))));
    assert_eq!(world.start_count(mark), 1);
    world.finish();
}

#[test]
fn whoever_takes_a_session_over_has_it_and_the_one_before_says_nothing_more() {
    let mut world = world();
    let client = listener(&mut world, Encoding::Json);
    world.delay_client(client, 3_000);
    let mark = world.publish(client, "c0");
    world.client_moves_on(client);
    world.run_until_settled(client, mark);
    world.run_for(5_000);
    assert!(world.counts().zombie_count > 0, "the old connection did speak");
    assert_eq!(world.place_count(mark), 1);
    for _ in 0..5 {
        world.race(client);
        world.run_for(700);
    }
    world.run_until_open(client);
    world.finish();
}

#[test]
fn a_session_that_expired_says_of_each_request_what_is_known() {
    let mut config = WorldConfig::default();
    config.node.session_expiry_ms = 3_000;
    let mut world = World::new(7, config, Keeps::Lines);
    let client = listener(&mut world, Encoding::Json);
    let accepted = world.request(client, "work", None);
    world.run_until("it runs", |world| world.start_count(accepted) == 1);
    world.go_offline(client, 40_000);
    let never_sent = world.publish(client, "c0");
    world.run_for(45_000);
    world.finish();
    assert_eq!(world.outcome(client, accepted), Some(&Outcome::Indeterminate));
    assert!(is_published(&world, client, never_sent), "sent in the new session");
    assert_eq!(world.place_count(never_sent), 1);
}

#[test]
fn a_full_log_refuses_what_it_cannot_keep_and_nothing_else_happens() {
    let mut world = world();
    let client = listener(&mut world, Encoding::Json);
    world.fill_log(2_000);
    let refused = world.publish(client, "c0");
    world.run_until_settled(client, refused);
    let is_refused = code(&world, client, refused) == Some(ErrorCode::StoreFailed);
    assert!(is_refused || is_published(&world, client, refused), "or it waited for room");
    world.run_for(3_000);
    let mark = world.publish(client, "c0");
    world.run_until_settled(client, mark);
    assert!(is_published(&world, client, mark));
    world.finish();
}
