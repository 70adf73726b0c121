use super::*;

#[test]
fn what_was_acknowledged_survives_a_power_cut_at_any_call() {
    let mut points = 0;
    for seed in 1..=3 {
        let script = script(seed, 200);
        let models = models(&script);
        let (calls, calls_acknowledged, made_at) = record(&script);
        let disk = SimDisk::new(seed.into());
        let mut acknowledged = 0;
        for (index, call) in calls.iter().enumerate() {
            disk.perform(call).unwrap();
            while calls_acknowledged.get(acknowledged).is_some_and(|at| *at <= index + 1) {
                acknowledged += 1;
            }
            if *call == Call::Read || index < made_at {
                continue;
            }
            points += 1;
            let context = format!("seed {seed}, call {index}");
            let cut = disk.fork(index as u64);
            cut.crash();
            recovered(&cut, acknowledged, &models, &context);
        }
    }
    assert!(points >= 5_000, "{points} points");
}

#[test]
fn a_power_cut_during_recovery_loses_nothing_either() {
    let script = script(9, 40);
    let models = models(&script);
    let (calls, calls_acknowledged, made_at) = record(&script);
    let disk = SimDisk::new(9);
    let mut acknowledged = 0;
    for (index, call) in calls.iter().enumerate() {
        disk.perform(call).unwrap();
        while calls_acknowledged.get(acknowledged).is_some_and(|at| *at <= index + 1) {
            acknowledged += 1;
        }
        if index < made_at {
            continue;
        }
        // Every recovery is cut at a call of its own, and so is the one after it.
        let cut = disk.fork(index as u64);
        for round in 0..2u64 {
            cut.crash();
            let in_recovery = (index as u64 * 7 + round * 3) % 30;
            cut.fail_at(cut.calls() + in_recovery, Fault::PowerCut);
            drop(open(&cut));
        }
        cut.crash();
        recovered(&cut, acknowledged, &models, &format!("call {index}"));
    }
}

#[test]
fn a_commit_goes_on_after_recovery() {
    let script = script(4, 60);
    let models = models(&script);
    let disk = SimDisk::new(4);
    drop(open(&disk).unwrap());
    let mut done = 0;
    // The power fails every few calls, and the script goes on where the log says that it stands.
    for round in 0..1_000u64 {
        disk.crash();
        disk.fail_at(disk.calls() + 40 + round % 53, Fault::PowerCut);
        let Ok(mut log) = open(&disk) else { continue };
        assert!(log.commit_count() as usize >= done, "round {round}");
        done = log.commit_count() as usize;
        while done < script.len() && log.commit(&script[done]).is_ok() {
            done += 1;
        }
        if done == script.len() {
            break;
        }
    }
    disk.crash();
    compare(&mut open(&disk).unwrap(), &models[script.len()]);
}

/// The calls of a script, after how many of them each commit returned, and after how many the log was
/// made. It is still open at the end.
fn record(script: &[Vec<Write>]) -> (Vec<Call>, Vec<usize>, usize) {
    let disk = SimDisk::new(1);
    disk.start_recording();
    let mut log = open(&disk).unwrap();
    let made_at = disk.calls() as usize;
    let mut acknowledged = Vec::new();
    for writes in script {
        log.commit(writes).unwrap();
        acknowledged.push(disk.calls() as usize);
    }
    (disk.recorded(), acknowledged, made_at)
}
