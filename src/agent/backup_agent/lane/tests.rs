//! When a place is filled again, and what is said of it meanwhile.

use std::io::Write as _;

use super::*;
use crate::config;
use crate::http::sample;
use crate::http::status::AgentKind;
use crate::postgres::Environment;
use crate::repository::Left;
use crate::repository::id::BackupId;

const FILE: &str = "
repository: {bucket: b}
backup_agent: {retry_first: 1m, retry_max: 4m}
copies: [{name: nas, directory: /backups}, {name: cold, bucket: c, after_backup: false}]
";

fn now() -> Timestamp {
    "2026-11-28T12:00:00Z".parse().unwrap()
}

fn minutes(minutes: i64) -> Timestamp {
    now() + jiff::SignedDuration::from_mins(minutes)
}

fn settings() -> Settings {
    settings_in(FILE)
}

fn settings_in(text: &str) -> Settings {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    config::load(Some(file.path()), []).unwrap()
}

/// The same lane with what it takes to begin its work, none of which is ever done.
struct Worked {
    lane: Lane,
    live: Live,
    workplace: Arc<Workplace>,
}

impl Worked {
    fn that_lets_go() -> Self {
        let settings = settings_in(&format!("{FILE}retention: {{keep_last: 1, after_backup: true}}\n"));
        Self {
            lane: Lane::new(settings.copy("nas").unwrap(), &settings, now()),
            live: Live::new(AgentKind::BackupAgent, &settings, now()),
            workplace: Arc::new(Workplace::new(settings, Environment::default(), "pod".to_owned())),
        }
    }

    fn begin(&mut self, now: Timestamp) {
        self.lane
            .begin(&self.workplace, &self.live, &CancellationToken::new(), now);
        assert!(self.lane.run.is_some(), "it was due");
    }

    /// A run that ends like that.
    fn fill(&mut self, copied: Result<CopyReport>, now: Timestamp) {
        self.begin(now);
        self.lane.ended(Ended::Filled(copied), &self.live, now);
    }
}

fn lane() -> (Lane, Live) {
    let settings = settings();
    let live = Live::new(AgentKind::BackupAgent, &settings, now());
    (Lane::new(settings.copy("nas").unwrap(), &settings, now()), live)
}

fn failed() -> Result<CopyReport> {
    let error = crate::storage::Error::new(crate::storage::ErrorKind::Unavailable, "put", "chunks/x");
    Err(error.into())
}

fn let_go() -> Box<LetGo> {
    Box::new(LetGo::now(now(), Err(vec![failed().unwrap_err()])))
}

/// A bucket whose backups have names like real ones.
fn bucket() -> RepositoryStatus {
    let mut repository = sample::repository();
    for (number, backup) in (0..).zip(&mut repository.backups) {
        backup.backup_id = BackupId::new(minutes(number), 1).to_string();
    }
    repository
}

fn ids(repository: &RepositoryStatus) -> BTreeSet<BackupId> {
    let ids = repository
        .backups
        .iter()
        .filter_map(|backup| backup.backup_id.parse().ok());
    ids.collect()
}

#[test]
fn copies_that_are_to_be_filled_by_others_have_no_lane() {
    let copies = super::super::copies::Copies::new(&settings(), now());
    let live = lane().1;
    copies.tell(&live);
    let names: Vec<String> = live.status(now()).copies.into_iter().map(|copy| copy.name).collect();
    assert_eq!(names, ["nas"]);
}

#[test]
fn a_place_that_is_away_is_tried_again_after_growing_pauses_that_have_an_end() {
    let (mut lane, live) = lane();
    assert_eq!(lane.due, Some(now()), "what an outage left behind is caught up at once");
    for pause in [1, 2, 4, 4, 4] {
        lane.filled(failed(), &live, now());
        assert_eq!(lane.due, Some(minutes(pause)));
    }
    lane.want(minutes(3));
    assert_eq!(lane.due, Some(minutes(3)), "a new backup is brought at once");
    lane.filled(failed(), &live, now());
    assert_eq!(lane.due, Some(minutes(1)));
    let counts = &live.status(now()).counts.copies["nas"];
    assert_eq!((counts.failed, counts.complete), (6, 0));
}

#[test]
fn what_is_not_known_is_not_said_and_a_place_never_seen_is_behind() {
    let (mut lane, live) = lane();
    let repository = sample::repository();
    let status = lane.status(None);
    assert_eq!((status.missing, status.behind_since), (None, None));
    lane.filled(failed(), &live, now());
    let status = lane.status(Some(&repository));
    assert_eq!(
        (status.missing, status.behind_since, status.last_success),
        (None, Some(now()), None)
    );
    assert!(status.trouble.unwrap().contains("chunks/x"));
}

#[test]
fn a_place_is_behind_since_its_oldest_missing_backup_could_be_used() {
    let (mut lane, live) = lane();
    let repository = bucket();
    let mut settled = ids(&repository);
    assert_eq!(settled.len(), repository.backups.len());
    let complete = CopyReport {
        settled: settled.clone(),
        ..CopyReport::default()
    };
    lane.filled(Ok(complete), &live, now());
    let status = lane.status(Some(&repository));
    assert_eq!(
        (status.missing, status.behind_since, status.trouble),
        (Some(0), None, None)
    );
    assert_eq!((status.last_success, lane.due), (Some(now()), None));
    lane.saw(&repository, now());
    assert_eq!(lane.due, None);

    // The two newest are another agent's, which brings them itself; if it does not, this one does.
    let newest: Vec<BackupId> = [settled.pop_last(), settled.pop_last()].into_iter().flatten().collect();
    let left = CopyReport {
        left: vec![Left {
            backup_id: newest[0].clone(),
            reason: "damaged".to_owned(),
        }],
        settled,
        ..CopyReport::default()
    };
    lane.settled = Some(left.settled.iter().map(ToString::to_string).collect());
    lane.saw(&repository, now());
    assert_eq!(lane.due, Some(minutes(4)));
    lane.filled(Ok(left), &live, now());
    let status = lane.status(Some(&repository));
    let oldest = repository.backups[repository.backups.len() - 2]
        .contents
        .as_ref()
        .unwrap();
    assert_eq!(
        (status.missing, status.behind_since),
        (Some(2), Some(oldest.usable_since))
    );
    assert!(status.trouble.unwrap().ends_with("damaged"));
    let counts = &live.status(now()).counts.copies["nas"];
    assert_eq!((counts.complete, counts.incomplete), (1, 1));
}

#[test]
fn a_place_lets_go_after_each_backup_once_it_is_filled_and_not_because_the_agent_was_started() {
    let mut worked = Worked::that_lets_go();
    worked.fill(Ok(CopyReport::default()), now());
    assert!(!worked.lane.letting_go.goes_on(), "no backup has come");

    worked.lane.want(minutes(1));
    worked.fill(failed(), minutes(1));
    assert!(!worked.lane.letting_go.goes_on());
    worked.fill(Ok(CopyReport::default()), minutes(2));
    assert!(worked.lane.letting_go.goes_on(), "it is owed since the backup");
    assert_eq!(worked.lane.status(None).retention.current, None, "not begun yet");
    worked.lane.ended(Ended::LetGo(let_go()), &worked.live, minutes(2));
    assert!(!worked.lane.letting_go.goes_on());
    assert!(worked.lane.status(None).retention.failing().is_some());
    let counts = &worked.live.status(now()).counts.copies["nas"];
    assert_eq!(counts.retention.failed_runs, 1);

    worked.lane.due = Some(minutes(3));
    worked.fill(Ok(CopyReport::default()), minutes(3));
    assert!(!worked.lane.letting_go.goes_on(), "no other backup has come");
}

#[test]
fn a_place_is_filled_again_while_it_lets_go_and_lets_go_once_more_for_the_backup_that_came() {
    let mut worked = Worked::that_lets_go();
    worked.lane.want(now());
    worked.fill(Ok(CopyReport::default()), now());
    let status = worked.lane.status(None);
    assert_eq!((status.running_since, status.last_success), (None, Some(now())));
    assert!(worked.lane.letting_go.goes_on() && worked.lane.is_at_work());

    worked.lane.want(minutes(1));
    worked.fill(Ok(CopyReport::default()), minutes(1));
    assert_eq!(worked.lane.status(None).last_success, Some(minutes(1)));
    worked.lane.ended(Ended::LetGo(let_go()), &worked.live, minutes(2));
    assert!(worked.lane.letting_go.goes_on(), "the second one's");
    worked.lane.ended(Ended::LetGo(let_go()), &worked.live, minutes(3));
    assert!(!worked.lane.is_at_work());
}

#[test]
fn a_backup_that_comes_while_a_place_is_filled_asks_for_a_retention_of_its_own() {
    let mut worked = Worked::that_lets_go();
    worked.begin(now());
    worked.lane.want(minutes(1));
    worked
        .lane
        .ended(Ended::Filled(Ok(CopyReport::default())), &worked.live, minutes(2));
    worked.lane.ended(Ended::LetGo(let_go()), &worked.live, minutes(2));
    worked.fill(Ok(CopyReport::default()), minutes(2));
    assert!(worked.lane.letting_go.goes_on());
}

#[test]
fn settings_read_anew_leave_a_place_alone_that_they_do_not_change() {
    let mut worked = Worked::that_lets_go();
    worked.begin(now());
    let settings = worked.workplace.settings.clone();
    let again = |now| Lane::new(settings.copy("nas").unwrap(), &settings, now);
    let mut lane = worked.lane.under(again(minutes(5)), None, minutes(5));
    assert!(lane.run.is_some(), "what was going on goes on");
    lane.ended(Ended::Filled(failed()), &worked.live, minutes(6));
    assert_eq!(lane.due, Some(minutes(7)));
    let lane = lane.under(again(minutes(6)), None, minutes(6));
    assert_eq!(lane.due, Some(minutes(6)), "what may have been mended is tried at once");
    assert_eq!(lane.began, now());
}

#[test]
fn settings_read_anew_leave_no_place_without_the_retention_that_they_have_cut_short() {
    let mut worked = Worked::that_lets_go();
    worked.lane.want(now());
    worked.fill(Ok(CopyReport::default()), now());
    assert!(worked.lane.letting_go.goes_on() && !worked.lane.letting_go.is_owed());
    let other = settings_in(&format!("{FILE}retention: {{keep_last: 2, after_backup: true}}\n"));
    let new = Lane::new(other.copy("nas").unwrap(), &other, minutes(1));
    let lane = worked.lane.under(new, None, minutes(1));
    assert!(!lane.letting_go.goes_on() && lane.letting_go.is_owed());
}

#[test]
fn settings_read_anew_end_no_alert_of_a_place_that_is_behind() {
    let repository = bucket();
    let oldest = repository.backups.iter().filter_map(|backup| backup.contents.as_ref());
    let oldest = oldest.map(|contents| contents.usable_since).min().unwrap();
    let other = settings_in(&FILE.replace("/backups", "/elsewhere"));
    let renewed = |lane: Lane| {
        let new = Lane::new(other.copy("nas").unwrap(), &other, minutes(9));
        lane.under(new, Some(&repository), minutes(9))
    };
    let behind_since = |lane: &Lane| lane.status(Some(&repository)).behind_since;

    let (never_seen, live) = lane();
    assert_eq!(behind_since(&renewed(never_seen)), Some(now()));

    let (mut empty, _) = lane();
    empty.filled(Ok(CopyReport::default()), &live, now());
    empty.want(now());
    let empty = renewed(empty);
    assert_eq!((behind_since(&empty), empty.due), (Some(oldest), Some(minutes(9))));
    assert!(empty.letting_go.is_owed());

    let (mut complete, _) = lane();
    let settled = CopyReport {
        settled: ids(&repository),
        ..CopyReport::default()
    };
    complete.filled(Ok(settled), &live, now());
    assert_eq!(
        behind_since(&renewed(complete)),
        Some(minutes(9)),
        "nothing was missing"
    );
}
