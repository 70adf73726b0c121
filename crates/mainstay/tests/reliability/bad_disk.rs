//! The disk fails at any of its calls, or the power goes, and what was not synced is lost.
//!
//! `bad_disk.c` stands between the real program and the kernel and does both.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::case::{Case, Random, scaled};
use crate::clients::PATIENCE;
use crate::crowd::Crowd;
use crate::kills::{UNBOUNDED, wait_for_progress};
use crate::program::Program;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_ends_the_server_and_loses_nothing_that_was_acknowledged() {
    go_bad(Case::begin("bad-disk-error"), "error").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_loses_nothing_that_was_acknowledged() {
    go_bad(Case::begin("bad-disk-power"), "power").await;
}

#[test]
fn a_store_that_is_being_made_gets_over_a_power_cut() {
    let case = Case::begin("bad-disk-new");
    let library = compile(case.folder());
    let mut program = Program::start(case.folder(), UNBOUNDED);
    assert!(program.comes_up());
    for call in 1.. {
        program.kill();
        fs::remove_dir_all(program.data()).unwrap();
        run_on_bad_disk(&mut program, &library, call, "power", case.random(call).next());
        if program.comes_up() {
            assert!(call > 1, "no call ever goes bad");
            return case.tell(&format!("made by {} calls", call - 1));
        }
        assert_eq!(program.wait_until_ended(PATIENCE).code(), None, "call {call}: killed");
        program.run();
        assert!(program.comes_up(), "call {call}");
    }
}

async fn go_bad(case: Case, fault: &str) {
    let library = compile(case.folder());
    let mut random = case.random(0);
    let mut program = Program::start(case.folder(), UNBOUNDED);
    let crowd = Crowd::of_all_kinds(&case, program.address(), 2).await;
    program.kill();
    for round in 0..scaled(ROUND_COUNT) {
        let call = call(round, &mut random);
        run_on_bad_disk(&mut program, &library, call, fault, random.next());
        let status = program.wait_until_ended(PATIENCE);
        match fault {
            "error" => assert_eq!(status.code(), Some(1), "call {call}"),
            _ => assert_eq!(status.code(), None, "call {call}: killed"),
        }
    }
    case.tell(&format!("{} stored", case.journal.stored_count()));
    program.run();
    program.wait_until_listening();
    wait_for_progress(&case).await;
    crowd.finish().await;
}

/// Each of the first calls, of which some still open the store, and then any.
fn call(round: u64, random: &mut Random) -> u64 {
    if round < ROUND_COUNT / 2 { round + 1 } else { random.below(CALL_COUNT) + 1 }
}

fn run_on_bad_disk(program: &mut Program, library: &Path, call: u64, fault: &str, seed: u64) {
    let folder = program.data().display().to_string();
    program.run_with(&[
        ("LD_PRELOAD", &library.display().to_string()),
        ("BAD_DISK_FOLDER", &folder),
        ("BAD_DISK_CALL", &call.to_string()),
        ("BAD_DISK_FAULT", fault),
        ("BAD_DISK_SEED", &seed.to_string()),
    ]);
}

/// Builds the library that is preloaded.
fn compile(folder: &Path) -> PathBuf {
    let library = folder.join("bad_disk.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reliability/bad_disk.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o"]);
    let compiled = compiler.arg(&library).arg(source).arg("-ldl").status().unwrap();
    assert!(compiled.success());
    library
}

/// Restarts, each of which goes bad at another call.
const ROUND_COUNT: u64 = 60;
/// Calls to the disk within which a random one goes bad: half a second's worth.
const CALL_COUNT: u64 = 2000;
