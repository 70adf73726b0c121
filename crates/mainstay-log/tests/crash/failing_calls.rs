use super::*;

#[test]
fn no_failing_call_loses_or_invents_a_commit() {
    let script = script(5, 40);
    let models = models(&script);
    let call_count = run(&script, &models, u64::MAX, Fault::Eio).calls;
    assert!(call_count > 200, "{call_count} calls");
    let (mut full_count, mut fatal_count) = (0, 0);
    for at in 0..call_count {
        for fault in [Fault::Eio, Fault::Enospc, Fault::ShortWrite] {
            let run = run(&script, &models, at, fault);
            full_count += u64::from(run.was_full);
            fatal_count += u64::from(run.has_failed);
            assert!(!run.was_full || fault == Fault::Enospc);
        }
    }
    assert!(full_count > call_count / 10, "a full disk was survived {full_count} times");
    assert!(fatal_count > call_count / 2, "a failure ended the log {fatal_count} times");
}

#[test]
fn a_disk_that_stays_full_takes_commits_again_when_it_has_room() {
    let script = script(6, 40);
    let models = models(&script);
    let disk = SimDisk::new(6);
    let mut log = open(&disk).unwrap();
    for (index, writes) in script.iter().enumerate() {
        disk.fail_at(disk.calls(), Fault::Enospc);
        for _ in 0..2 {
            // Each time it is opened again in vain, too.
            let result = log.commit(writes);
            let error = result.expect_err("no room");
            assert!(matches!(error, LogError::Full(_)) && !error.is_fatal(), "{error}");
            compare(&mut log, &models[index]);
            disk.fail_at(disk.calls(), Fault::Enospc);
        }
        disk.fail_at(u64::MAX, Fault::Enospc);
        log.commit(writes).unwrap();
    }
    compare(&mut log, &models[script.len()]);
    drop(log);
    disk.crash();
    recovered(&disk, script.len(), &models, "at the end");
}

#[test]
fn after_a_failed_sync_nothing_is_taken() {
    let script = script(7, 3);
    let disk = SimDisk::new(7);
    let mut log = open(&disk).unwrap();
    log.commit(&script[0]).unwrap();
    disk.start_recording();
    log.commit(&script[1]).unwrap();
    let first_sync = disk.recorded().iter().position(|call| *call == Call::Sync).unwrap();
    for offset in 0..=first_sync as u64 {
        let disk = SimDisk::new(offset);
        let mut log = open(&disk).unwrap();
        log.commit(&script[0]).unwrap();
        disk.fail_at(disk.calls() + offset, Fault::Eio);
        assert!(log.commit(&script[1]).expect_err("it failed").is_fatal());
        for _ in 0..3 {
            assert!(log.commit(&script[1]).expect_err("nothing more").is_fatal());
        }
    }
}

struct Run {
    calls: u64,
    was_full: bool,
    has_failed: bool,
}

/// Runs a script with one call that fails, and checks what was acknowledged, then and after a power
/// cut.
fn run(script: &[Vec<Write>], models: &[Model], at: u64, fault: Fault) -> Run {
    let disk = SimDisk::new(at);
    drop(open(&disk).unwrap());
    let made_at = disk.calls();
    disk.fail_at(at.saturating_add(made_at), fault);
    let mut run = Run { calls: 0, was_full: false, has_failed: false };
    let mut acknowledged = 0;
    let context = format!("call {at}, {fault:?}");
    if let Ok(mut log) = open(&disk) {
        for (index, writes) in script.iter().enumerate() {
            match log.commit(writes) {
                Ok(()) => {
                    assert!(!run.has_failed, "{context}: acknowledged after a failure");
                    acknowledged += 1;
                }
                Err(error @ LogError::Full(_)) => {
                    assert!(!error.is_fatal());
                    run.was_full = true;
                    compare(&mut log, &models[index]);
                    log.commit(writes).unwrap_or_else(|error| panic!("{context}: {error}"));
                    acknowledged += 1;
                }
                Err(error) => {
                    assert!(error.is_fatal(), "{context}: {error}");
                    run.has_failed = true;
                    let again = log.commit(writes).map_err(|error| error.is_fatal());
                    assert_eq!(again, Err(true), "{context}: nothing more is taken");
                    if index > acknowledged + 2 {
                        break;
                    }
                }
            }
        }
    }
    run.calls = disk.calls() - made_at;
    disk.crash();
    recovered(&disk, acknowledged, models, &context);
    run
}
