//! The server is asked to stop under load.

use std::time::Duration;

use tokio::time::sleep;

use crate::case::{Case, scaled};
use crate::crowd::Crowd;
use crate::kills::wait_for_progress;
use crate::program::Program;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_leaves_nothing_open() {
    let case = Case::begin("stops");
    let settings = ["--history-count-max", "100000000", "--drain-window", "200ms"];
    let mut program = Program::start(case.folder(), &settings);
    let crowd = Crowd::of_all_kinds(&case, program.address(), 3).await;
    let mut random = case.random(0);
    let stop_count = scaled(10);
    for _ in 0..stop_count {
        wait_for_progress(&case).await;
        sleep(random.up_to(Duration::from_millis(100))).await;
        // An orderly stop, which is exit code 0.
        tokio::task::block_in_place(|| program.stop());
        program.run();
    }
    wait_for_progress(&case).await;
    let verdict = crowd.finish().await;
    // Whatever ran was answered first.
    assert_eq!((verdict.perhaps, verdict.never_ran), (0, 0));
    case.tell(&format!("{stop_count} stops"));
}
