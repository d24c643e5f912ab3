//! Listings that show what was there before: something stored since is missing in them, something deleted since still shows.
//! No listing alone takes anything away that a name can be asked for.

use std::collections::BTreeSet;

use super::*;
use crate::repository::layout::{DAMAGE, DRIFT, ELSEWHERE, HOLDS, INCOMING};

/// Everything that an expiry or a prune lists.
const LISTED: [&str; 9] = [
    layout::MANIFESTS,
    layout::TOMBSTONES,
    HOLDS,
    layout::CERTIFICATES,
    DAMAGE,
    INCOMING,
    ELSEWHERE,
    DRIFT,
    layout::CHUNKS,
];

/// How often a listing of before is given.
#[derive(Clone, Copy, Debug)]
enum Lasting {
    Once,
    Always,
}

impl Ground {
    /// The same repository, where listings below `prefix` stay as they are now, whatever comes and goes from here on.
    async fn with_listings_of_now(&self, prefix: &str, lasting: Lasting) -> Repository {
        let stale = Fault::first(Operation::List, prefix, Effect::Stale).after(1);
        let stale = match lasting {
            Lasting::Once => stale,
            Lasting::Always => stale.always(),
        };
        let repository = self.with_faults(vec![stale]).await;
        list_all(repository.store().as_ref(), prefix, None).await.unwrap();
        repository
    }

    async fn backups(&self) -> BTreeSet<BackupId> {
        self.repository.backup_ids().await.unwrap().into_iter().collect()
    }

    async fn put(&self, key: Key, body: &'static str) {
        self.store.put_new(&key.to_string(), body.into()).await.unwrap();
    }

    /// A backup that is here again, as a copy or a person brings it.
    async fn bring_back(&self, objects: &[(String, bytes::Bytes)]) {
        for (key, body) in objects {
            self.store.put_new(key, body.clone()).await.unwrap();
        }
    }

    /// A certified backup, and of every other kind something that comes or goes within a day.
    async fn live_a_day(&self, day: i64) {
        self.set_minute(day * DAY);
        self.expire(&last(3)).await;
        self.prune().await;
        self.backup(day * DAY, &tables(u64::try_from(day).unwrap())).await;
        self.verdict(day * DAY, day * DAY + 1, CertificateState::Certified, &[])
            .await;
        let held = backup_id((day - 2) * DAY);
        self.repository
            .hold(&held, "the auditors", time(day * DAY))
            .await
            .unwrap();
        let drill_id = DrillId::new(time(day * DAY), 7);
        let (backup_id, state) = (backup_id(day * DAY), CertificateState::Certified);
        let incoming = Key::Incoming(backup_id.clone());
        let root = self.object(&Key::Manifest(backup_id.clone()).to_string()).await;
        self.store.put_new(&incoming.to_string(), root).await.unwrap();
        self.put(Key::DriftAcceptance(backup_id.clone()), "{}").await;
        let word = Key::Elsewhere {
            backup_id,
            drill_id,
            state,
        };
        self.put(word, "{}").await;
        let damage = Key::Damage(VerifyId::new(time(day * DAY), 1));
        self.put(damage, r#"{"damaged_objects": [], "defects": []}"#).await;
        let orphan = rows(100, 5000 + 2 * u64::try_from(day).unwrap());
        let writer = self.writer().await;
        writer.put(orphan.clone(), vec![orphan.len()]).await.unwrap();
    }
}

async fn expire_by(repository: &Repository, options: &ExpireOptions) -> ExpireReport {
    expire(repository, options, &CancellationToken::new()).await.unwrap()
}

async fn prune_by(repository: &Repository) -> crate::repository::Result<PruneReport> {
    let options = PruneOptions {
        grace: GRACE,
        dry_run: false,
    };
    prune(repository, &options, &CancellationToken::new()).await
}

/// Whatever is listed as it was a day ago, also where that lasts for longer than the grace period.
#[tokio::test]
async fn what_exists_is_whole_and_held_and_proven_after_an_expiry_and_a_prune_by_listings_of_the_day_before() {
    for prefix in LISTED {
        for lasting in [Lasting::Once, Lasting::Always] {
            for later in [20 * HOUR, 10 * DAY] {
                let what = format!("{prefix} {lasting:?}, {later} minutes later");
                let ground = Ground::with_days(5).await;
                ground.live_a_day(5).await;
                let repository = ground.with_listings_of_now(prefix, lasting).await;
                ground.live_a_day(6).await;
                let before = ground.backups().await;
                ground.set_minute(6 * DAY + later);
                // Either may refuse, and say so; what it does must be right.
                let ended = expire(&repository, &last(2), &CancellationToken::new()).await;
                if let Ok(report) = &ended {
                    let gone: BTreeSet<BackupId> = report.expired.iter().cloned().collect();
                    let left: BTreeSet<BackupId> = before.difference(&gone).cloned().collect();
                    assert_eq!(ground.backups().await, left, "{what}");
                }
                let pruned = prune_by(&repository).await;
                if let Err(error) = &pruned {
                    assert!(error.to_string().len() > 20, "{what}: {error}");
                }
                assert!(ground.is_sound().await, "{what}: {ended:?} {pruned:?}");
                let left = ground.backups().await;
                for day in [3, 4, 6] {
                    assert!(left.contains(&backup_id(day * DAY)), "{what}, day {day}: {left:?}");
                }
                let held = ground.repository.holds().await.unwrap();
                assert_eq!(held.len(), 2, "{what}");
                let certified = ground.repository.certified_backups().await.unwrap();
                assert!(certified.contains_key(&backup_id(6 * DAY)), "{what}");
                // By true listings the next runs end where they always do.
                ground.expire(&last(2)).await;
                ground.prune().await;
                assert_eq!(
                    ground.backups().await.into_iter().collect::<Vec<_>>(),
                    ids([3, 4, 5, 6]),
                    "{what}"
                );
                assert!(ground.is_sound().await, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn a_hold_that_no_listing_shows_yet_is_asked_for_by_its_name() {
    for ended_before in [0, 1, 2] {
        let ground = Ground::with_days(4).await;
        let held = backup_id(0);
        for _ in 0..ended_before {
            ground.repository.hold(&held, "at first", time(0)).await.unwrap();
            ground.repository.unhold(&held, time(0)).await.unwrap();
        }
        let repository = ground.with_listings_of_now(HOLDS, Lasting::Always).await;
        ground.repository.hold(&held, "the auditors", time(0)).await.unwrap();
        let report = expire_by(&repository, &last(1)).await;
        assert_eq!(report.expired, ids([1, 2]), "{ended_before} before");
        assert_eq!(report.retained[0].backup_id, held);
        assert_eq!(report.retained[0].reason, "held: the auditors");
    }
    // One that has come and ended since holds nothing.
    let ground = Ground::with_days(3).await;
    let repository = ground.with_listings_of_now(HOLDS, Lasting::Always).await;
    ground
        .repository
        .hold(&backup_id(0), "an error", time(0))
        .await
        .unwrap();
    ground.repository.unhold(&backup_id(0), time(0)).await.unwrap();
    assert_eq!(expire_by(&repository, &last(1)).await.expired, ids([0, 1]));
}

/// By the old mark its chunks would have no grace period.
#[tokio::test]
async fn a_mark_of_an_earlier_life_goes_though_no_listing_shows_it() {
    let ground = Ground::with_days(3).await;
    let repository = ground.with_listings_of_now(layout::TOMBSTONES, Lasting::Always).await;
    let key = Key::Manifest(backup_id(0)).to_string();
    let root = (key.clone(), ground.object(&key).await);
    ground.expire(&last(1)).await;
    ground.bring_back(&[root]).await;
    ground.set_minute(20 * DAY);
    assert_eq!(expire_by(&repository, &last(1)).await.expired, ids([0]));
    let report = ground.prune().await;
    assert_eq!(report.tombstones, 1, "{report:?}");
    assert_eq!(report.deleted.objects, 2, "those of the other expired backup alone");
}

#[tokio::test]
async fn a_tombstone_that_is_gone_and_still_shows_is_written_anew() {
    let ground = Ground::with_days(3).await;
    let mut objects = Vec::new();
    for prefix in [layout::CHUNKS, layout::MANIFESTS] {
        for key in ground.keys(prefix).await {
            let body = ground.object(&key).await;
            objects.push((key, body));
        }
    }
    assert_eq!(ground.expire(&last(2)).await.expired, ids([0]));
    let repository = ground.with_listings_of_now(layout::TOMBSTONES, Lasting::Always).await;
    ground.set_minute(5 * DAY);
    assert_eq!(ground.prune().await.leftovers.tombstones, 1);
    ground.bring_back(&objects).await;
    ground.verdict(0, 5 * DAY, CertificateState::Certified, &[]).await;
    ground.set_minute(20 * DAY);
    assert_eq!(expire_by(&repository, &last(2)).await.expired, ids([0]));
    assert_eq!(
        ground.keys(layout::TOMBSTONES).await.len(),
        2,
        "a tombstone and its mark"
    );
    let report = ground.prune().await;
    assert_eq!((report.tombstones, report.deleted.objects), (1, 0), "{report:?}");
}

/// Deleted by the expiry that has just let the backup go a second time.
#[tokio::test]
async fn a_mark_that_is_gone_and_still_shows_takes_no_grace_period_away() {
    let ground = Ground::with_days(3).await;
    let key = Key::Manifest(backup_id(0)).to_string();
    let root = (key.clone(), ground.object(&key).await);
    assert_eq!(ground.expire(&last(2)).await.expired, ids([0]));
    let repository = ground.with_listings_of_now(layout::TOMBSTONES, Lasting::Always).await;
    ground.bring_back(&[root]).await;
    ground.set_minute(20 * DAY);
    assert_eq!(ground.expire(&last(2)).await.expired, ids([0]));
    let report = prune_by(&repository).await.unwrap();
    assert_eq!((report.tombstones, report.deleted.objects), (1, 0), "{report:?}");
    ground.set_minute(22 * DAY);
    assert_eq!(ground.prune().await.deleted.objects, 2);
    assert!(ground.is_sound().await);
}

/// However long it is not listed: a drill has judged it, so it is asked for by its name.
#[tokio::test]
async fn a_judged_backup_that_is_there_and_not_listed_stops_the_prune_unless_a_second_listing_shows_it() {
    for state in [CertificateState::Certified, CertificateState::Failed] {
        let ground = Ground::with_days(2).await;
        let lasting = ground.with_listings_of_now(layout::MANIFESTS, Lasting::Always).await;
        ground.set_minute(2 * DAY);
        ground.backup(2 * DAY, &tables(2)).await;
        ground.verdict(2 * DAY, 2 * DAY + 1, state, &[]).await;
        ground.set_minute(20 * DAY);
        let before = ground.keys("").await;
        let error = prune_by(&lasting).await.unwrap_err();
        let manifest = Key::Manifest(backup_id(2 * DAY)).to_string();
        assert!(
            matches!(&error, Error::Damaged { key, reason } if *key == manifest && reason.contains("not listed")),
            "{error}"
        );
        assert_eq!(ground.keys("").await, before);
    }
    let ground = Ground::with_days(2).await;
    // The clock, and the first look.
    let stale = Fault {
        times: 2,
        ..Fault::first(Operation::List, layout::MANIFESTS, Effect::Stale).after(1)
    };
    let once = ground.with_faults(vec![stale]).await;
    list_all(once.store().as_ref(), layout::MANIFESTS, None).await.unwrap();
    ground.set_minute(2 * DAY);
    ground.backup(2 * DAY, &tables(2)).await;
    ground
        .verdict(2 * DAY, 2 * DAY + 1, CertificateState::Failed, &[])
        .await;
    ground.set_minute(20 * DAY);
    let report = prune_by(&once).await.unwrap();
    assert_eq!((report.manifests, report.deleted.objects), (3, 0));
    assert!(ground.is_sound().await);
}

/// A backup of this day is younger than the grace period, and what it reuses belongs to what was listed before.
#[tokio::test]
async fn a_backup_that_is_not_listed_within_the_grace_period_loses_nothing_though_nobody_has_judged_it() {
    let ground = Ground::with_days(2).await;
    let repository = ground.with_listings_of_now(layout::MANIFESTS, Lasting::Always).await;
    ground.set_minute(20 * DAY);
    ground.backup(20 * DAY, &tables(2)).await;
    ground
        .repository
        .hold(&backup_id(20 * DAY), "wait", time(0))
        .await
        .unwrap();
    ground.set_minute(20 * DAY + 23 * HOUR);
    assert_eq!(prune_by(&repository).await.unwrap().deleted.objects, 0);
    assert!(ground.is_sound().await);
    assert_eq!(ground.repository.holds().await.unwrap().len(), 1);
}

/// An expiry was cut off between tombstone and deletion.
#[tokio::test]
async fn a_backup_that_is_buried_and_not_listed_and_there_gets_no_mark_and_keeps_its_hold() {
    let ground = Ground::new().await;
    ground.set_minute(0);
    ground.backup(0, &tables(0)).await;
    let repository = ground.with_listings_of_now(layout::MANIFESTS, Lasting::Always).await;
    ground.backup(DAY, &tables(1)).await;
    let buried = backup_id(DAY);
    let stored = ground.repository.read_manifest(&buried).await.unwrap();
    ground
        .repository
        .put_tombstone(stored.manifest, time(DAY))
        .await
        .unwrap();
    ground.repository.hold(&buried, "wait", time(DAY)).await.unwrap();
    for later in [3 * DAY, 20 * DAY] {
        ground.set_minute(later);
        let report = prune_by(&repository).await.unwrap();
        assert_eq!((report.deleted.objects, report.leftovers.holds), (0, 0), "{report:?}");
        assert_eq!(ground.keys(layout::TOMBSTONES).await.len(), 1, "no mark");
        assert!(ground.is_sound().await);
    }
    assert_eq!(ground.repository.holds().await.unwrap().len(), 1);
}

/// Nobody has judged it, so nothing but the listing could tell of its tombstone: what it alone needed goes without a grace period.
#[tokio::test]
async fn a_backup_under_way_that_reuses_what_a_hidden_tombstone_kept_fails_and_the_next_one_is_whole() {
    let ground = Ground::with_days(2).await;
    ground.set_minute(2 * DAY);
    ground.backup(2 * DAY, &tables(2)).await;
    let writer = ground.writer().await;
    ground.set_minute(3 * DAY);
    ground.backup(3 * DAY, &[("other", rows(10, 5))]).await;
    ground
        .verdict(3 * DAY, 3 * DAY + 1, CertificateState::Certified, &[])
        .await;
    let repository = ground.with_listings_of_now(layout::TOMBSTONES, Lasting::Always).await;
    ground.set_minute(5 * DAY);
    assert!(ground.expire(&last(1)).await.expired.contains(&backup_id(2 * DAY)));
    assert!(prune_by(&repository).await.unwrap().deleted.objects > 0);
    let all = tables(2);
    let records = put_all(&writer, &all).await.unwrap();
    let refused = writer.commit(draft(5 * DAY, &all), records).await;
    assert!(refused.is_err(), "{refused:?}");
    assert!(ground.is_sound().await);
    ground.backup(5 * DAY + 1, &all).await;
    assert!(ground.is_sound().await);
}
