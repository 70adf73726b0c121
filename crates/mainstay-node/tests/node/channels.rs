use mainstay_node::{Answer, Call, ChannelQuery, ChannelView, Effect};
use mainstay_wire::session::{
    Delivery, Epoch, ErrorCode, Gap, GapReason, Hello, Offset, Payload, PresenceMode, ServerFrame,
    Start,
};

use crate::log::Peek;
use crate::world::{World, cursor, hello, name, resume};

fn after(epoch: Option<Epoch>, offset: u64) -> Start {
    Start::After { epoch, offset: Offset(offset) }
}

fn filled(count: u64) -> (World, Epoch) {
    let mut world = World::with(|config| config.channel_retention.count_max = 10);
    world.emit_many("news", count);
    world.commit();
    let epoch = view(&mut world, "news").epoch;
    (world, epoch)
}

fn view(world: &mut World, channel: &str) -> ChannelView {
    let answer = world.ask(Call::Channels(ChannelQuery { count_max: 1_000, ..Default::default() }));
    let Ok(Answer::Channels { channels: views, .. }) = answer else { panic!("channels") };
    views.into_iter().find(|view| view.name.as_str() == channel).expect("a channel")
}

fn range(gap: &Gap) -> (u64, Option<u64>, GapReason, u64) {
    (gap.from.0, gap.to.map(|to| to.0), gap.reason, gap.offset.0)
}

#[test]
fn offsets_are_dense_and_events_of_one_batch_come_together() {
    let mut world = World::new();
    world.connect(1, hello());
    world.subscribe(1, "news", Start::Now);
    world.commit();
    for number in 1..=3 {
        world.publish(1, number, "news", "a");
        world.emit("other", "b");
        world.emit("news", "c");
    }
    let effects = world.try_commit().expect("stored");
    let runs = effects.iter().filter_map(|effect| match effect {
        Effect::Deliver { channel, events } => Some((channel.as_str(), events.len())),
        _ => None,
    });
    assert_eq!(runs.collect::<Vec<_>>(), [("news", 6), ("other", 3)]);
    assert_eq!(world.events(1, "news"), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn who_subscribes_between_two_events_of_a_batch_hears_the_later_one() {
    for (start, heard) in
        [(Start::Now, vec![2, 3]), (after(None, 0), vec![1, 2, 3]), (Start::Last(0), vec![2, 3])]
    {
        let mut world = World::new();
        world.connect(1, hello());
        world.emit("news", "before");
        world.subscribe(1, "news", start);
        world.emit("news", "behind");
        world.commit();
        world.emit("news", "later");
        world.commit();
        assert_eq!(world.events(1, "news"), heard, "{start:?}");
    }
}

#[test]
fn a_start_is_met_at_every_boundary() {
    // Offsets 6 to 15 are kept.
    let (mut world, epoch) = filled(15);
    let cases = [
        (Start::Now, 16, None),
        (Start::Last(0), 16, None),
        (Start::Last(1), 15, None),
        (Start::Last(10), 6, None),
        (Start::Last(11), 6, None),
        (Start::Last(u32::MAX), 6, None),
        (after(None, 0), 6, None),
        (after(None, 7), 8, None),
        (after(None, u64::MAX), 16, None),
        (after(Some(epoch), 15), 16, None),
        (after(Some(epoch), 14), 15, None),
        (after(Some(epoch), 5), 6, None),
        (after(Some(epoch), 4), 6, Some((5, Some(5), GapReason::Trimmed, 5))),
        (after(Some(epoch), 0), 6, Some((1, Some(5), GapReason::Trimmed, 5))),
        (after(Some(epoch), 16), 6, Some((17, None, GapReason::Epoch, 5))),
        (after(Some(Epoch(1)), 15), 6, Some((16, None, GapReason::Epoch, 5))),
        (after(Some(Epoch(1)), u64::MAX), 6, Some((u64::MAX, None, GapReason::Epoch, 5))),
    ];
    for (key, (start, first, gap)) in (1..).zip(cases) {
        world.connect(key, hello());
        world.subscribe(key, "news", start);
        world.commit();
        let expected: Vec<u64> = (first..=15).collect();
        assert_eq!(world.events(key, "news"), expected, "{start:?}");
        assert_eq!(world.gaps(key).first().map(range), gap, "{start:?}");
        assert!(world.gaps(key).len() <= 1);
    }
}

#[test]
fn a_second_subscribe_replaces_the_first() {
    let (mut world, _) = filled(10);
    world.connect(1, hello());
    world.subscribe(1, "news", after(None, 0));
    world.subscribe(1, "news", Start::Last(2));
    world.commit();
    world.emit("news", "a");
    world.commit();
    assert_eq!(world.events(1, "news"), [9, 10, 11]);
    world.unsubscribe(1, "news");
    world.emit("news", "a");
    world.commit();
    assert_eq!(world.events(1, "news").len(), 3);
    world.unsubscribe(1, "news");
    world.commit();
    assert_eq!(world.problems(1), [ErrorCode::NotSubscribed]);
}

#[test]
fn the_cursors_of_a_hello_are_the_subscriptions() {
    let mut world = World::new();
    let first = world.connect(1, hello());
    world.subscribe(1, "news", Start::Now);
    world.subscribe(1, "other", Start::Now);
    world.commit();
    let epoch = world.subscribed(1, "news").expect("subscribed").epoch;
    world.cut(1);
    world.emit_many("news", 3);
    world.emit("other", "b");
    world.commit();
    world.restart();
    let cursors = vec![cursor("news", epoch, 1)];
    world.connect(2, Hello { cursors, ..resume(&first) });
    world.emit("news", "a");
    world.emit("other", "b");
    world.commit();
    assert_eq!(world.events(2, "news"), [2, 3, 4]);
    assert!(world.gaps(2).is_empty() && world.subscribed(2, "other").is_none());
}

#[test]
fn who_reads_slowly_is_told_what_was_trimmed_meanwhile() {
    let (mut world, _) = filled(10);
    world.connect(1, hello());
    world.subscribe(1, "news", after(None, 0));
    // The feed is behind and has not read yet when history moves on.
    world.emit_many("news", 5);
    world.commit();
    assert_eq!(
        world.gaps(1).iter().map(range).collect::<Vec<_>>(),
        [(1, Some(5), GapReason::Trimmed, 5)]
    );
    assert_eq!(world.events(1, "news"), (6..=15).collect::<Vec<_>>());
}

#[test]
fn who_wants_the_latest_gets_it_and_a_gap() {
    let (mut world, _) = filled(10);
    world.connect(1, hello());
    let none = PresenceMode::None;
    world.subscribe_with(1, "news", after(None, 0), Delivery::Latest, none);
    world.commit();
    assert_eq!(world.events(1, "news"), [10]);
    assert_eq!(range(&world.gaps(1)[0]), (1, Some(9), GapReason::Conflated, 9));
    world.subscribe_with(1, "news", after(None, 9), Delivery::Latest, none);
    world.emit("news", "a");
    world.commit();
    assert_eq!(world.events(1, "news"), [10, 11], "events of this batch are read in the next");
}

#[test]
fn who_wants_the_latest_of_a_channel_that_was_trimmed_empty_reads_to_its_end() {
    let mut world = World::with(|config| config.channel_retention.age_max_ms = 1_000);
    world.emit_many("news", 5);
    world.commit();
    world.connect(1, hello());
    world.subscribe_with(1, "news", after(None, 0), Delivery::Latest, PresenceMode::None);
    world.try_commit().expect("stored");
    world.now_ms += 1_000;
    world.node.handle_timeout(world.now_ms);
    world.commit();
    assert_eq!(world.events(1, "news"), Vec::<u64>::new());
    assert_eq!(world.gaps(1).last().map(|gap| gap.offset), Some(Offset(5)));
}

#[test]
fn damage_is_a_gap_with_its_exact_range() {
    let (mut world, _) = filled(10);
    for offset in [1, 4, 5, 10] {
        world.log.damage("news", offset);
    }
    world.connect(1, hello());
    world.subscribe(1, "news", after(None, 0));
    world.commit();
    assert_eq!(world.events(1, "news"), [2, 3, 6, 7, 8, 9]);
    let gaps: Vec<_> = world.gaps(1).iter().map(range).collect();
    let corrupt = |from, to| (from, Some(to), GapReason::Corrupt, to);
    assert_eq!(gaps, [corrupt(1, 1), corrupt(4, 5), corrupt(10, 10)]);
    let channel = name("news");
    let answer = world.ask(Call::History { channel, after: Offset(3), count_max: 2 });
    let Ok(Answer::History { events, .. }) = answer else { panic!("history") };
    assert_eq!(events.iter().map(|event| event.offset.0).collect::<Vec<_>>(), [6, 7]);
}

#[test]
fn a_damaged_front_does_not_stop_trimming() {
    let (mut world, _) = filled(10);
    world.log.damage("news", 1);
    world.log.damage("news", 3);
    world.restart();
    world.emit_many("news", 20);
    world.commit();
    world.pass(1_000);
    assert_eq!(view(&mut world, "news").first, Offset(21));
    world.pass(world.config.channel_retention.age_max_ms);
    let view = view(&mut world, "news");
    assert_eq!((view.first, view.bytes), (Offset(31), 0));
}

#[test]
fn history_is_bounded_by_bytes() {
    let mut world = World::with(|config| config.channel_retention.bytes_max = 40);
    for _ in 0..10 {
        world.emit("news", "12345678");
    }
    world.commit();
    let view = view(&mut world, "news");
    assert_eq!((view.first, view.head, view.bytes), (Offset(7), Offset(10), 40));
}

#[test]
fn history_is_bounded_by_age_across_slices_and_a_restart() {
    let mut world = World::new();
    let age_max_ms = world.config.channel_retention.age_max_ms;
    for _ in 0..5 {
        world.emit_many("news", 700);
        world.commit();
    }
    world.pass(10);
    world.emit("news", "young");
    world.commit();
    world.restart();
    world.pass(age_max_ms - 11);
    assert_eq!(view(&mut world, "news").first, Offset(1));
    world.pass(1);
    assert_eq!(view(&mut world, "news").first, Offset(3501), "in slices, and at once");
    world.pass(10);
    let view = view(&mut world, "news");
    assert_eq!((view.first, view.head, view.bytes), (Offset(3502), Offset(3501), 0));
    world.emit("news", "a");
    world.commit();
    let kept = world.log.get().memory.commit_view("news");
    assert_eq!(kept, (Offset(3502), Offset(3502)), "the log forgets the same");
}

#[test]
fn history_above_the_count_is_trimmed_in_slices_after_a_restart_with_less() {
    let mut world = World::new();
    for _ in 0..6 {
        world.emit_many("news", 900);
        world.commit();
    }
    world.config.channel_retention.count_max = 100;
    world.restart();
    world.pass(1);
    assert_eq!(view(&mut world, "news").first, Offset(5301));
    assert!(world.node.audit() < 10, "one timer for the channel");
}

#[test]
fn at_the_limit_of_channels_the_one_idle_for_longest_makes_room() {
    let mut world = World::with(|config| config.channel_count_max = 3);
    world.connect(1, hello());
    for channel in ["c", "b", "a"] {
        world.pass(10);
        world.subscribe(1, channel, Start::Now);
        world.commit();
    }
    world.subscribe(1, "d", Start::Now);
    world.commit();
    assert_eq!(world.problems(1), [ErrorCode::TooManyChannels]);
    world.unsubscribe(1, "c");
    world.commit();
    world.pass(10);
    world.unsubscribe(1, "a");
    world.unsubscribe(1, "b");
    world.commit();
    world.subscribe(1, "e", Start::Now);
    world.commit();
    let mut names = world.log.get().memory.names();
    names.retain(|name| !name.starts_with('$'));
    assert_eq!(names, ["a", "b", "e"], "c has been idle for longest");
    world.emit("a", "x");
    world.emit("b", "x");
    let refused = world.emit("f", "x");
    world.commit();
    let refused = world.answers.get(&refused).expect("an answer").as_ref().expect_err("refused");
    assert_eq!(refused.code, ErrorCode::TooManyChannels);
}

#[test]
fn a_publish_to_many_goes_to_all_or_none_at_the_limit_of_channels() {
    let mut world = World::with(|config| config.channel_count_max = 2);
    let publish = |names: &[&str]| Call::Publish {
        channels: names.iter().map(|channel| name(channel)).collect(),
        payload: Payload::NULL,
        key: None,
    };
    world.emit("old", "x");
    world.commit();
    let refused = world.ask(publish(&["old", "new", "newer"])).expect_err("no room");
    assert_eq!(refused.code, ErrorCode::TooManyChannels);
    assert_eq!(view(&mut world, "old").head, Offset(1));
    world.ask(publish(&["old", "new"])).expect("room enough");
}

#[test]
fn the_whole_log_is_bounded_also_for_empty_events() {
    let mut world = World::with(|config| {
        config.log_bytes_max = 1_000;
        config.channel_retention.age_max_ms = 1_000;
    });
    let publish = || Call::Publish {
        channels: vec![name("news")],
        payload: Payload::binary(Vec::new()),
        key: None,
    };
    let taken = (0..100).take_while(|_| world.ask(publish()).is_ok()).count();
    assert_eq!(taken, 15);
    let refused = world.ask(publish()).expect_err("full");
    assert_eq!(refused.code, ErrorCode::StoreFailed);
    world.connect(1, hello());
    world.publish(1, 1, "other", "a");
    world.commit();
    assert!(matches!(world.take(1).last(), Some(ServerFrame::Reply(_))));
    world.pass(1_000);
    world.ask(publish()).expect("trimming has made room");
}

#[test]
fn subscriptions_are_bounded() {
    let mut world = World::with(|config| config.subscription_count_max = 2);
    world.connect(1, hello());
    for channel in ["a", "b", "b", "c"] {
        world.subscribe(1, channel, Start::Now);
    }
    world.commit();
    assert_eq!(world.problems(1), [ErrorCode::TooManySubscriptions]);
    world.unsubscribe(1, "a");
    world.subscribe(1, "c", Start::Now);
    world.commit();
    assert_eq!(world.problems(1).len(), 1);
}

#[test]
fn a_busy_channel_arms_one_timer() {
    let (mut world, _) = filled(10);
    for _ in 0..200 {
        world.emit_many("news", 1_500);
        world.commit();
        world.pass(7);
    }
    assert!(world.node.audit() < 10, "{} timers", world.node.audit());
}
