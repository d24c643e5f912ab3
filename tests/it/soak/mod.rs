//! The soak: both agents as processes under load while everything goes wrong that a seed deals, for as long as it is told
//! (`make soak MINUTES=...`; half a minute within the suite). At the end it counts, and there is no violation.
//!
//! The storm goes by requests to the store, not by time, so that it is as dense on a slow machine as on a quick one.

mod bank;
mod field;
mod storm;

use std::time::{Duration, Instant};

use field::Field;

/// Requests to the store between two mishaps; a backup or a drill makes some forty.
const PACE: u64 = 60;

/// The opening is denser, and is carried out to its end however slow the machine is.
const OPENING_PACE: u64 = 20;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn both_agents_survive_a_storm_under_load_and_nothing_they_say_is_wrong() {
    let seed = number("KUBEBACKUP_TEST_SEED").unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let seconds = number("KUBEBACKUP_TEST_SOAK_SECONDS").unwrap_or(30);
    println!("soak of {seconds} s, seed {seed}; again: make soak SEED={seed}");
    let (began, limit) = (Instant::now(), Duration::from_secs(seconds));
    let mut field = Field::open();
    let mut mishaps = 0;
    let mut storm = storm::storm(seed);
    let opening = storm::opening().len();
    while mishaps < opening || began.elapsed() < limit {
        if mishaps < opening {
            field.wait_for_requests(OPENING_PACE, None);
        } else {
            field.wait_for_requests(PACE, Some(began + limit));
        }
        let mishap = storm.next().unwrap();
        if std::env::var_os("KUBEBACKUP_TEST_TELL").is_some() {
            eprintln!("{:7.1}s {mishap:?}", began.elapsed().as_secs_f64());
        }
        field.strike(&mishap);
        mishaps += 1;
        field.look();
    }
    field.calm_down();
    let mut summary = field.close();
    summary["seed"] = seed.into();
    summary["seconds"] = began.elapsed().as_secs().into();
    summary["mishaps"] = mishaps.into();
    println!("soak: {summary}");
}
