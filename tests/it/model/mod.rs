//! The model test: a seeded sequence of operations and mishaps on a real world, against a model that knows for every backup
//! what it must contain.
//!
//! The plan is made from the seed alone (`plan`), then carried out (`steps`), and after each step the invariants hold
//! (`invariants`). A run that fails prints its seed and the steps so far. `make model SEED=... STEPS=...` runs others.

pub(crate) mod bucket;
pub(crate) mod faults;
mod ground;
mod invariants;
mod litter;
mod minima;
mod mischief;
mod opening;
mod plan;
mod schema;
mod secrets;
pub(crate) mod servers;
pub(crate) mod step;
mod steps;
mod there;
mod truth;
pub(crate) mod wire;

use std::io::Write as _;
use std::time::{Duration, Instant};

use ground::Ground;
use plan::{Plan, plan};
use step::Step;

/// Says where a run that fails has come.
struct Log {
    seed: u64,
    planned: usize,
    steps: Vec<String>,
}

impl Drop for Log {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let steps = self.steps.join("\n");
            eprintln!("steps of seed {}, to the one that failed:\n{steps}", self.seed);
            eprintln!("again: make model SEED={} STEPS={}", self.seed, self.planned);
        }
    }
}

/// Steps in the suite.
const STEPS: usize = 200;

/// In the suite a slow machine carries out a shorter beginning of the same plan, though never less than its opening.
const LIMIT: Duration = Duration::from_mins(4);

#[track_caller]
fn run(seed: u64, steps: usize, limit: Duration) {
    let began = Instant::now();
    let Plan { steps: plan, opening } = plan(seed, steps);
    println!("seed {seed}, {} steps, of which {opening} open every plan", plan.len());
    let mut log = Log {
        seed,
        planned: steps,
        steps: Vec::new(),
    };
    let mut ground = Ground::new();
    let is_told = std::env::var_os("KUBEBACKUP_TEST_TELL").is_some();
    for (number, step) in plan.iter().enumerate() {
        log.steps
            .push(format!("{number:4} {:7.1}s {step:?}", began.elapsed().as_secs_f64()));
        if is_told {
            eprintln!("{}", log.steps[number]);
        }
        ground.carry_out(step);
        let done = number + 1;
        if done == opening {
            ground.assert_the_opening_struck();
        }
        if began.elapsed() > limit && (opening..plan.len()).contains(&done) {
            // Said whatever the test's output is shown of: fewer steps are fewer that were tried.
            let _ = writeln!(
                std::io::stderr(),
                "model: the time is over after {done} of {} steps, seed {seed}",
                plan.len()
            );
            break;
        }
    }
    log.steps.push("everything is looked at".to_owned());
    ground.carry_out(&Step::Calm);
    ground.carry_out(&Step::CheckAll);
    log.steps.push("the litter goes".to_owned());
    ground.assert_all_litter_goes();
    ground.assert_no_secret();
    let summary = serde_json::json!({
        "seed": seed,
        "steps": log.steps.len(),
        "seconds": began.elapsed().as_secs(),
        "faults": ground.proxy.struck().len(),
        "cuts": ground.way.struck(),
        "requests": ground.world.s3.controls.asked(),
        "counts": ground.counts,
        "violations": 0,
    });
    println!("model: {summary}");
}

#[test]
fn the_same_seed_is_the_same_plan_and_another_is_another() {
    let text = |seed| format!("{:?}", plan(seed, 300).steps);
    assert_eq!(text(7), text(7));
    assert_ne!(text(7), text(8));
    // Every kind of step is dealt.
    let plan: Vec<Step> = (0..10).flat_map(|seed| plan(seed, 300).steps).collect();
    let kinds: std::collections::BTreeSet<String> = plan
        .iter()
        .map(|step| format!("{step:?}").split([' ', '(']).next().unwrap().to_owned())
        .collect();
    assert_eq!(kinds.len(), 27, "{kinds:?}");
}

#[test]
fn whatever_happens_a_backup_holds_what_it_must_and_a_certificate_is_earned() {
    run(20_261_128, STEPS, LIMIT);
}

#[test]
fn whatever_else_happens_a_backup_holds_what_it_must_and_a_certificate_is_earned() {
    let number = |name| {
        std::env::var(name)
            .ok()
            .map(|text: String| text.parse::<u64>().unwrap())
    };
    let seed = number("KUBEBACKUP_TEST_SEED").unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let steps = number("KUBEBACKUP_TEST_STEPS");
    let limit = if steps.is_some() { Duration::MAX } else { LIMIT };
    run(
        seed,
        steps.map_or(STEPS, |steps| usize::try_from(steps).unwrap()),
        limit,
    );
}
