//! Channels and sessions are found among many.

use mainstay_node::{
    Answer, Call, ChannelQuery, ConnectionKey, Input, Pace, SessionQuery, SessionStanding,
    SessionView,
};
use mainstay_wire::session::{Principal, SessionId, Start};

use crate::world::{World, any_name, hello, name};

/// One page: names, and the `after` of the next.
fn channels(world: &mut World, query: ChannelQuery) -> (Vec<String>, Option<String>) {
    let answer = world.ask(Call::Channels(query));
    let Ok(Answer::Channels { channels, next }) = answer else { panic!("{answer:?}") };
    let names = channels.into_iter().map(|view| view.name.to_string());
    (names.collect(), next.map(|next| next.to_string()))
}

/// One page.
fn sessions(world: &mut World, query: SessionQuery) -> (Vec<SessionView>, Option<SessionId>) {
    let answer = world.ask(Call::Sessions(query));
    let Ok(Answer::Sessions { sessions, next }) = answer else { panic!("{answer:?}") };
    (sessions, next)
}

/// All pages, and how many there were.
fn every_session(world: &mut World, query: SessionQuery) -> (Vec<SessionView>, usize) {
    let (mut all, mut after) = (Vec::new(), query.after);
    for page_count in 1..1_000 {
        let (page, next) = sessions(world, SessionQuery { after, ..query.clone() });
        assert!(page.len() <= query.count_max);
        all.extend(page);
        match next {
            Some(_) => after = next,
            None => return (all, page_count),
        }
    }
    panic!("pages without end")
}

fn principal(name: &str) -> Principal {
    Principal::parse(name).expect("a principal")
}

#[test]
fn channels_are_found_by_how_their_names_begin() {
    let mut world = World::new();
    for channel in ["orders", "orders/1", "orders/2", "orders/3", "orders0", "a", "z"] {
        world.emit(channel, "x");
    }
    world.connect_as(1, Some("ann"), hello());
    let mut find = |prefix: &str, after: Option<&str>, count_max| {
        let prefix = Some(prefix.parse().expect("a prefix"));
        let query = ChannelQuery { prefix, after: after.map(any_name), count_max };
        let (names, next) = channels(&mut world, query);
        (names.join(" "), next.unwrap_or_default())
    };
    let page = |names: &str, next: &str| (names.to_owned(), next.to_owned());
    assert_eq!(find("orders/", None, 9), page("orders/1 orders/2 orders/3", ""));
    assert_eq!(find("orders/", None, 2), page("orders/1 orders/2", "orders/2"));
    assert_eq!(find("orders/", Some("orders/2"), 2), page("orders/3", ""));
    assert_eq!(find("orders/", None, 3).1, "", "nothing follows a page that is just full");
    assert_eq!(find("orders/", Some("a"), 1), page("orders/1", "orders/1"), "after what is before");
    assert_eq!(find("orders/", Some("z"), 9), page("", ""), "after what is behind");
    assert_eq!(find("orders/9", None, 9), page("", ""));
    assert_eq!(find("$principal/", None, 9), page("$principal/ann", ""));
    assert_eq!(find("", None, 1).0, "$principal/ann");
    assert_eq!(find("z", None, 0), page("", ""));
}

#[test]
fn a_list_that_nothing_narrows_has_everything_in_order() {
    let mut world = World::new();
    for channel in ["c", "a", "b"] {
        world.emit(channel, "x");
    }
    let query = ChannelQuery { after: Some(name("a")), count_max: 1, ..Default::default() };
    assert_eq!(channels(&mut world, query), (vec!["b".to_owned()], Some("b".to_owned())));
    let mut ids: Vec<SessionId> = (1..=3).map(|key| world.connect(key, hello()).session).collect();
    ids.sort();
    let query = SessionQuery { after: Some(ids[0]), count_max: 5, ..Default::default() };
    let (views, next) = sessions(&mut world, query);
    let listed: Vec<SessionId> = views.iter().map(|view| view.session).collect();
    assert_eq!((listed, next), (ids[1..].to_vec(), None));
}

/// Sessions of two principals and of none; some away, some with events not acknowledged, some slow.
fn many_kinds() -> World {
    let mut world = World::new();
    for key in 0..48 {
        let principal = [None, Some("ann"), Some("bob"), Some("ann2")][key as usize % 4];
        world.connect_as(key, principal, hello());
        if key.is_multiple_of(3) {
            world.subscribe(key, "news", Start::Now);
        }
        if key.is_multiple_of(5) {
            let (connection, pace) = (ConnectionKey(key), Pace::Behind);
            world.handle(Input::Pace { connection, pace });
        }
        if key.is_multiple_of(10) {
            let (connection, pace) = (ConnectionKey(key), Pace::Live);
            world.handle(Input::Pace { connection, pace });
        }
        world.commit();
        if key.is_multiple_of(7) {
            world.cut(key);
        }
    }
    world.emit("news", "x");
    world.commit();
    world
}

#[test]
fn a_session_is_behind_while_it_lags_or_is_slow() {
    let mut world = many_kinds();
    let query = SessionQuery { is_behind: Some(true), count_max: 99, ..Default::default() };
    let (views, _) = sessions(&mut world, query);
    let mut keys: Vec<u64> = views
        .iter()
        .map(|view| match view.standing {
            SessionStanding::Connected(ConnectionKey(key)) => key,
            SessionStanding::Away { .. } => panic!("whoever is away listens to nothing"),
        })
        .collect();
    keys.sort_unstable();
    let is_behind = |key: &u64| !key.is_multiple_of(7) && (key.is_multiple_of(3) || key % 10 == 5);
    assert_eq!(keys, (0..48).filter(is_behind).collect::<Vec<_>>());
}

#[test]
fn sessions_are_found_by_everything_that_is_asked_for_together() {
    let mut world = many_kinds();
    let (all, _) = every_session(&mut world, SessionQuery { count_max: 99, ..Default::default() });
    assert_eq!(all.len(), 48);
    let some_id = all[20].session.to_string();
    let mut found = 0;
    for prefix in [None, Some(""), Some(&some_id[..1]), Some(&some_id[..]), Some("F")] {
        for owner in [None, Some("ann"), Some("bob"), Some("nobody")] {
            for is_connected in [None, Some(true), Some(false)] {
                for is_behind in [None, Some(true), Some(false)] {
                    for (count_max, after) in [(99, None), (3, None), (2, Some(all[20].session))] {
                        let query = SessionQuery {
                            prefix: prefix.map(|prefix| prefix.parse().expect("a prefix")),
                            principal: owner.map(principal),
                            is_connected,
                            is_behind,
                            after,
                            count_max,
                        };
                        let is_wanted = |view: &&SessionView| {
                            let id = view.session.to_string();
                            let is_there = matches!(view.standing, SessionStanding::Connected(_));
                            prefix.is_none_or(|p| id.starts_with(&p.to_lowercase()))
                                && query
                                    .principal
                                    .iter()
                                    .all(|p| view.principal.as_ref() == Some(p))
                                && is_connected.is_none_or(|wanted| wanted == is_there)
                                && is_behind.is_none_or(|wanted| wanted == view.is_behind)
                                && after.is_none_or(|after| after < view.session)
                        };
                        let wanted: Vec<SessionView> =
                            all.iter().filter(is_wanted).cloned().collect();
                        found += wanted.len();
                        assert_eq!(every_session(&mut world, query.clone()).0, wanted, "{query:?}");
                    }
                }
            }
        }
    }
    assert!(found > 1_000, "{found}");
}

#[test]
fn one_call_looks_at_some_thousand_sessions_and_a_principal_is_found_at_once() {
    let mut world = World::new();
    for key in 0..6_000 {
        world.say_hello(key, Some(&format!("p{key}")), hello());
    }
    world.commit();
    world.cut(4_321);
    world.commit();
    let away = SessionQuery { is_connected: Some(false), count_max: 10, ..Default::default() };
    let (views, page_count) = every_session(&mut world, away.clone());
    assert_eq!((views.len(), page_count), (1, 2));
    let (first, next) = sessions(&mut world, away);
    assert!(first.len() <= 1 && next.is_some(), "a page that is not full, and yet more to come");

    // What is shown costs as well: each of them has two subscriptions.
    let all = SessionQuery { count_max: usize::MAX, ..Default::default() };
    let (views, page_count) = every_session(&mut world, all);
    assert_eq!((views.len(), page_count), (6_000, 4));

    let of_one = SessionQuery {
        principal: Some(principal("p4321")),
        is_connected: Some(false),
        count_max: 10,
        ..Default::default()
    };
    let (views, next) = sessions(&mut world, of_one);
    assert_eq!((views.len(), next), (1, None), "no page is spent on others");
}
