//! A backup that lacks something: told once by each process, shown, and over when a person has accepted it.

use serde_json::Value;

use super::receiver::{Answer, Receiver};
use super::{agent, backed_up, status_of, stop, wait_for_drills};
use crate::support::{Running, wait};

fn frozen(running: &mut Running) -> Option<String> {
    let repository = &status_of(running)["repository"];
    repository["frozen"].as_str().map(str::to_owned)
}

fn newest(running: &mut Running) -> Value {
    let status = status_of(running);
    status["repository"]["backups"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .clone()
}

#[test]
fn a_backup_that_lacks_a_table_is_told_once_and_freezes_until_it_is_accepted() {
    let (world, first) = backed_up();
    let receiver = Receiver::start(Answer::Ok);
    let telling = || agent(&world).env("KUBEBACKUP_NOTIFY_WEBHOOK", &receiver.url());
    let mut running = telling().spawn();
    wait_for_drills(&world, &mut running, &first, &["certified"]);
    assert_eq!(frozen(&mut running), None);

    world.source_sql("DROP TABLE t; CREATE TABLE other (id int)");
    let second = world.back_up();
    let told = receiver.wait_for(1)[0]["text"].as_str().unwrap().to_owned();
    let beginning = format!("drifted: backup {second} of production: DELETION IS FROZEN, 1 finding against {first}: ");
    assert!(told.starts_with(&beginning), "{told}");
    assert!(told.contains("table public.t of shop is gone, with 100 rows"), "{told}");
    wait_for_drills(&world, &mut running, &second, &["certified"]);
    let expected = format!("backup {second} holds less than before");
    assert_eq!(frozen(&mut running), Some(expected.clone()), "no certificate thaws it");
    let drift = newest(&mut running)["drift"].clone();
    assert_eq!(
        (&drift["freezes"], &drift["findings"]),
        (&true.into(), &1.into()),
        "{drift}"
    );

    // Another process does not know what has arrived.
    stop(running);
    assert_eq!(receiver.bodies().len(), 1);
    let mut running = telling().spawn();
    wait::until("a look at the bucket", || {
        frozen(&mut running) == Some(expected.clone())
    });
    let again = receiver.wait_for(2)[1]["text"].as_str().unwrap().to_owned();
    assert!(again.starts_with(&beginning), "{again}");
    let accept = ["accept-drift", &second, "--reason", "it was meant"];
    world.program(&accept).run().ok();
    wait::until("the thaw", || frozen(&mut running).is_none());
    assert_eq!(newest(&mut running)["drift"]["freezes"], false);
    stop(running);
    assert_eq!(receiver.bodies().len(), 2);
}

/// By hand, or by a pipeline, before the agent looks again: it was told of nobody then.
#[test]
fn a_backup_that_lacks_a_table_and_was_drilled_by_somebody_else_is_told_all_the_same() {
    let (world, first) = backed_up();
    let receiver = Receiver::start(Answer::Ok);
    world.program(&["drill"]).run().ok();
    world.source_sql("DROP TABLE t; CREATE TABLE other (id int)");
    let second = world.back_up();
    world.program(&["drill"]).run().ok();
    let running = agent(&world).env("KUBEBACKUP_NOTIFY_WEBHOOK", &receiver.url()).spawn();
    let told = receiver.wait_for(1)[0]["text"].as_str().unwrap().to_owned();
    let beginning = format!("drifted: backup {second} of production: DELETION IS FROZEN, 1 finding against {first}: ");
    assert!(told.starts_with(&beginning), "{told}");
    stop(running);
}
